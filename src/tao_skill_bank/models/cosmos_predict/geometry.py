"""Sizes of a clip in pixels, latents and tokens. No torch here: preflight and the planner use it too."""

from dataclasses import dataclass

SPATIAL_COMPRESSION = 8  # of the Wan VAE, per side
TEMPORAL_COMPRESSION = 4  # frames after the first one that share a latent frame
PATCH = 2  # latent pixels per side of one token
SIZE_MULTIPLE = SPATIAL_COMPRESSION * PATCH
LATENT_CHANNELS = 16


@dataclass(frozen=True)
class ClipShape:
    """A clip of `num_frames` frames of height x width pixels, and its latent sizes."""

    num_frames: int
    height: int
    width: int

    @property
    def latent_frames(self) -> int:
        """The first frame has its own latent frame, then every four share one."""
        return (self.num_frames - 1) // TEMPORAL_COMPRESSION + 1

    @property
    def latent_height(self) -> int:
        return self.height // SPATIAL_COMPRESSION

    @property
    def latent_width(self) -> int:
        return self.width // SPATIAL_COMPRESSION

    @property
    def latents(self) -> tuple[int, int, int, int]:
        """Shape of the latents: (channels, frames, height, width)."""
        return (LATENT_CHANNELS, self.latent_frames, self.latent_height, self.latent_width)

    @property
    def tokens(self) -> int:
        """Tokens that the diffusion transformer attends over."""
        return self.latent_frames * (self.latent_height // PATCH) * (self.latent_width // PATCH)


def conditioning_frames(latent_frames: int) -> int:
    """Return how many pixel frames make the first `latent_frames` latent frames: 1 -> 1, 2 -> 5; 0 -> 0."""
    return 0 if latent_frames == 0 else TEMPORAL_COMPRESSION * (latent_frames - 1) + 1


def nearest_num_frames(num_frames: int) -> tuple[int, int]:
    """Return the valid frame counts (4k + 1) below and above a number: 90 -> (89, 93)."""
    below = max(1, (num_frames - 1) // TEMPORAL_COMPRESSION * TEMPORAL_COMPRESSION + 1)
    return below, below + TEMPORAL_COMPRESSION
