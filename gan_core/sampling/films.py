"""Films of images: GIF by Pillow, and MP4 by ffmpeg, which imageio-ffmpeg brings."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from gan_core.errors import UserError
from gan_core.runs.atomic import replacing

FILMS = (".gif", ".mp4")
"""The endings of films."""


def check_film(path: Path) -> None:
    """Checks that films of this kind can be written.

    Raises:
        UserError: The ending is another one, or what writes it is missing.
    """
    if path.suffix.lower() not in FILMS:
        raise UserError(f"out: {str(path)!r} is not allowed. Use FILE.gif or FILE.mp4")
    if path.suffix.lower() == ".mp4":
        try:
            from imageio_ffmpeg import get_ffmpeg_exe

            get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            raise UserError(
                f"out: {str(path)!r} needs ffmpeg: pip install gan-core[video], or use FILE.gif, which needs nothing"
            ) from None


def save_film(frames: Sequence[Image.Image], path: Path, rate: float) -> None:
    """Writes frames of one size to a GIF or MP4 file, atomically. A GIF is played again and again.

    Args:
        frames: At least one; grey or RGB.
        path: The file; see `check_film`.
        rate: Frames per second.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as new:
        if path.suffix.lower() == ".gif":
            milliseconds = max(20, round(1000 / rate))  # Browsers play faster ones slowly.
            frames[0].save(
                new,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=milliseconds,
                loop=0,
                optimize=False,
            )
        else:
            _save_mp4(frames, new, rate)


def _save_mp4(frames: Sequence[Image.Image], path: Path, rate: float) -> None:
    from imageio_ffmpeg import write_frames

    # H.264 with the colours that all players know has an even number of pixels on each side.
    width, height = frames[0].size
    border = (0, 0, width % 2, height % 2)
    size = (width + width % 2, height + height % 2)
    writer = write_frames(
        str(path), size, fps=rate, quality=9, macro_block_size=2, output_params=["-f", "mp4"], ffmpeg_log_level="error"
    )
    try:
        writer.send(None)
        for frame in frames:
            writer.send(ImageOps.expand(frame.convert("RGB"), border, "white").tobytes())
    finally:
        writer.close()
