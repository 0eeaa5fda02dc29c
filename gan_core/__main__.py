"""`python -m gan_core` and `accelerate launch -m gan_core`."""

from gan_core.cli import main

if __name__ == "__main__":
    main()
