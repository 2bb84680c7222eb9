"""A short run of stress.py; longer ones by hand."""

import random

from stress import stress
from support import SLOWER


def test_all_verbs_at_random(tmp):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    stress(tmp / "dld", 6 * SLOWER, seed)
