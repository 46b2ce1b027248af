"""`python -m argosy.daemon`: what `argosy up --detach` starts in the background."""

import sys

from argosy.daemon import local

sys.exit(local.main())
