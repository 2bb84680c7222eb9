"""The file of a queue, looked at while nobody has it open."""

import sqlite3

# What is kept as numbers, and what counting the rows gives. STAGED (7) jobs of complete batches count as queued.
CHECKS = {
    "the file": "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "counters": """SELECT state, n, (SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch WHERE b.phase IN (1, 2)
        AND iif(j.state = 7, 0, j.state) = c.state) AS rows FROM counters c WHERE n <> rows""",
    "lanes": """SELECT l.id, queued, waiting, paused, staged, c.* FROM lanes l LEFT JOIN (SELECT lane, sum(state = 0) q,
        sum(state = 1) w, sum(state = 2) p, sum(state = 7) s FROM jobs WHERE lane IS NOT NULL GROUP BY lane) c
        ON c.lane = l.id WHERE (queued, waiting, paused, staged) IS NOT (q, w, p, s)""",
    "lanes of jobs": """SELECT id, state, lane FROM jobs WHERE iif(state IN (4, 5, 6), lane IS NOT NULL, lane IS NULL OR
        lane NOT IN (SELECT id FROM lanes)) OR (state IN (4, 5, 6) AND finished IS NULL)""",
    "doubled lanes": "SELECT uid, host FROM lanes GROUP BY uid, host HAVING count(*) > 1",
    "batches": """SELECT b.* FROM batches b LEFT JOIN (SELECT batch, count(*) AS n, sum(state = 4) AS d,
        sum(state = 5) AS f, sum(state = 6) AS x FROM jobs GROUP BY batch) r ON r.batch = b.id WHERE phase < 3 AND
        (count - purged <> ifnull(n, 0) OR done + failed + cancelled - purged <> ifnull(d + f + x, 0)
         OR (purged = 0 AND (done, failed, cancelled) IS NOT (ifnull(d, 0), ifnull(f, 0), ifnull(x, 0)))
         OR (finished > 0) <> (phase > 0 AND done + failed + cancelled = count))""",
    "batches of jobs": "SELECT id, batch FROM jobs WHERE batch NOT IN (SELECT id FROM batches)",
    "ids": "SELECT value FROM meta WHERE name = 'next_job' AND value <= (SELECT max(id) FROM jobs)",
}


def discrepancies(path):
    """Each number that is not what counting gives: (what, row)."""
    store = sqlite3.connect(path)
    try:
        return [(what, row) for what, sql in CHECKS.items() for row in store.execute(sql)]
    finally:
        store.close()


def rows(path, sql):
    store = sqlite3.connect(path)
    try:
        return store.execute(sql).fetchall()
    finally:
        store.close()
