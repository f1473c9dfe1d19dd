"""`python -m geo_offers` is the command line."""

import sys

from geo_offers.cli import main

if __name__ == "__main__":
    sys.exit(main())
