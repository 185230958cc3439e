"""Where captions of clips are found: in files next to the clips, in tables, in lines; one file per spelling."""
