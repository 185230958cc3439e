"""Two textured walls in space, seen by a pinhole camera whose fundamental matrices are known, as images and clips."""

import math

import numpy as np

WIDTH, HEIGHT = 256, 192
CAMERA = np.array([[220.0, 0, WIDTH / 2], [0, 220.0, HEIGHT / 2], [0, 0, 1]])
BACK, FRONT = 8.0, 4.0  # depths of the walls
PIXELS_PER_UNIT = 40


def pose(turn=0.0, place=(0.0, 0.0, 0.0)):
    """Return (R, t) of a camera at `place` that is turned about the vertical axis by `turn` radians."""
    rotation = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    return rotation, -rotation @ np.asarray(place)


def project(points, camera):
    """Return the pixels of points in space."""
    rotation, translation = camera
    seen = (points @ rotation.T + translation) @ CAMERA.T
    return seen[:, :2] / seen[:, 2:]


def fundamental(first, second):
    """Return F of two poses, from their definition: K^-T [t]x R K^-1 of the motion between them."""
    rotation = second[0] @ first[0].T
    x, y, z = second[1] - rotation @ first[1]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = np.linalg.inv(CAMERA)
    return inverse.T @ cross @ rotation @ inverse


def render(camera):
    """Return the gray image that a camera sees."""
    import cv2

    image = cv2.warpPerspective(_texture(0, 1200, 900), _plane(camera, BACK, 1200, 900), (WIDTH, HEIGHT))
    small = _texture(1, 90, 90), _plane(camera, FRONT, 90, 90)
    mask = cv2.warpPerspective(np.ones((90, 90), np.uint8), small[1], (WIDTH, HEIGHT))
    front = cv2.warpPerspective(small[0], small[1], (WIDTH, HEIGHT))
    return np.where(mask > 0, front, image)


def flight(num_frames, view=0.0):
    """Return frames of a camera that flies past the walls; `view` sets it to the side of another one."""
    places = [(view + 0.12 * index, 0.03 * index, 0.05 * index) for index in range(num_frames)]
    return [render(pose(0.004 * index, place)) for index, place in enumerate(places)]


def wobble(frames, pixels, seed=0):
    """Bend every frame like jelly, each in its own way: rows and columns move by up to `pixels`."""
    import cv2

    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    bent = []
    for frame in frames:
        phase = random.uniform(0, 2 * np.pi, 2)
        x = columns + np.float32(pixels) * np.sin(rows / 17 + phase[0]).astype(np.float32)
        y = rows + np.float32(pixels) * np.sin(columns / 13 + phase[1]).astype(np.float32)
        bent.append(cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    return bent


def write_clip(path, frames, rate=16):
    """Write gray or RGB frames as an mp4 of high quality."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            pixel_format = "gray" if frame.ndim == 2 else "rgb24"
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format=pixel_format)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def _plane(camera, depth, width, height):
    """Return the homography from a wall's texture to the image."""
    rotation, translation = camera
    wall = np.column_stack([rotation[:, 0], rotation[:, 1], rotation[:, 2] * depth + translation])
    scale = 1 / PIXELS_PER_UNIT
    texture = np.array([[scale, 0, -scale * width / 2], [0, scale, -scale * height / 2], [0, 0, 1]])
    return CAMERA @ wall @ texture


def _texture(seed, width, height):
    """Return blobs of every size, in which SIFT finds features."""
    import cv2

    random = np.random.default_rng(seed)
    image = sum(
        size * cv2.GaussianBlur(random.normal(size=(height, width)), (0, 0), size) for size in (1.0, 2.0, 4.0, 8.0)
    )
    return np.clip(127 + 60 * image / image.std(), 0, 255).astype(np.uint8)
