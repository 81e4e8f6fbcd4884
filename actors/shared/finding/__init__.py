"""Find killmails by any combination of conditions, newest or oldest first.

`postings` is an inverted index: for each term (what is in a killmail, and in which role) and window
of killmail ids, one row with the killmails that have it. `kinds` says what terms there are and how
their keys are made, `terms` which ones a killmail has, `tree` what may be asked, and `find` reads
the windows one after another until a page is full.
"""
