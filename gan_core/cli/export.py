"""stub"""
def export() -> None:
    """Stub."""
