"""Everything that touches the world and may fail: units of work, and what they stand on.

`actors` imports neither `streams` nor `api`; both import it. What two or more of the packages
use lives in `actors.shared`.
"""
