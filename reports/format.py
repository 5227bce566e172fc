"""Formats of numbers in reports, defined once, so that a figure has one rounding everywhere."""

from __future__ import annotations

from evaluation.accuracy import UNRELIABLE, Interval, enough_images

MINUS = "\u2212"
THIN = "\u202f"


def megabytes(size_bytes: float) -> str:
    """ "0.243 MB": three decimals below 100 MB, so that 1 kB shows."""
    value = size_bytes / 1e6
    return f"{value:.3f}{THIN}MB" if value < 100 else f"{value:.1f}{THIN}MB"


def grouped(count: int) -> str:
    """1234567 -> "1 234 567", with narrow spaces."""
    return f"{count:,}".replace(",", THIN)


def miou(value: float) -> str:
    """ "0.797"."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """ "+0.012", with a typographic minus sign below zero; "±0.000" for values that round to zero."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return f"\u00b1{text}"
    return f"{MINUS if value < 0 else '+'}{text}"


def interval(value: Interval) -> str:
    """ "0.780 to 0.810", with a mark where it is unreliable."""
    return f"{value.lower:.3f} to {value.upper:.3f}{value.mark}"


def signed_interval(value: Interval) -> str:
    """ "-0.012 to +0.003" with a typographic minus sign, and a mark where it is unreliable."""
    return f"{signed(value.lower)} to {signed(value.upper)}{value.mark}"


def resampled_share(value: float, images: int) -> str:
    """ "97 %": a share of resamples of `images` images, with a mark where it is unreliable."""
    return share(value) + ("" if enough_images(images) else UNRELIABLE)


def percent(share: float) -> str:
    return f"{100 * share:.2f}{THIN}%" if share < 0.9999 else f"{100 * share:.3f}{THIN}%"


def share(value: float) -> str:
    """ "97 %": whole per cent, but "<1 %" and ">99 %" for shares just above 0 and just below 1."""
    if 0 < value < 0.01:
        return f"<1{THIN}%"
    if 0.99 < value < 1:
        return f">99{THIN}%"
    return f"{100 * value:.0f}{THIN}%"


def duration(seconds: float) -> str:
    """ "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{THIN}h {minutes}{THIN}min"
    return f"{minutes}{THIN}min {rest}{THIN}s" if minutes else f"{rest}{THIN}s"
