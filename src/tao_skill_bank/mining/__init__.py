"""Mining: the clips of a pool that are nearest to failures, without what leaks into a test or was mined before."""
