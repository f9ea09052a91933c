"""python -m metaq"""

import sys

from metaq.command import main

sys.exit(main())
