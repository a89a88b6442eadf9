"""Measures that bench/publish asks for, against servers of the export module's API (tests/partner/server.py).

    python measure.py SMALL_URI LARGE_URI

Each database has the published export 'banc' and, of them the small one, the usual view. What is compared is asked in
turn, so that the machine's other work falls on both; medians are told.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(HERE, "..", "..", "tests", "partner", "server.py")
ROUNDS = 7
ROWS_CHANGED = 1000


class Partner:
    """A database and its API."""

    def __init__(self, uri):
        self.database = psycopg2.connect(uri)
        self.database.autocommit = True
        scheme = uri.replace("postgresql://", "postgresql+psycopg2://", 1)
        environment = dict(os.environ, FLASK_SQLALCHEMY_DB="server.db")
        self.process = subprocess.Popen([sys.executable, SERVER, scheme], stdout=subprocess.PIPE, env=environment, text=True)
        self.port = int(self.process.stdout.readline())
        self.token = self.one("SELECT token FROM gn_exports.cor_exports_roles LIMIT 1")

    def one(self, query):
        cursor = self.database.cursor()
        cursor.execute(query)
        return cursor.fetchone()[0]

    def run(self, query):
        self.database.cursor().execute(query)

    def export(self, label):
        return self.one(f"SELECT id FROM gn_exports.t_exports WHERE label = '{label}'")

    def ask(self, export, query):
        """Seconds, and the body, of a request."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/exports/api/{export}?{query}", headers={"api-key": self.token}
        )
        begun = time.perf_counter()
        body = urllib.request.urlopen(request, timeout=600).read()
        return time.perf_counter() - begun, body


def window(first):
    return f"limit=1000&filter_n_up_id_synthese={first}&filter_n_lo_id_synthese={first + 999}&orderby=id_synthese"


def compared(*questions, rounds=ROUNDS):
    """Medians of questions that are asked in turn; the first round warms up."""
    times = [[] for _ in questions]
    for number in range(rounds + 1):
        for of, question in zip(times, questions):
            seconds = question(number)
            if number:
                of.append(seconds)
    return [statistics.median(of) for of in times]


def count_seconds(partner):
    """What the count of the whole view costs, as the query classes ask it."""
    begun = time.perf_counter()
    partner.one("SELECT count(*) FROM (SELECT * FROM gn_exports.v_banc_observations) a")
    return time.perf_counter() - begun


def database_seconds(partner, question, requests=5):
    """What a request costs the database alone: a session tells it after ten seconds without work."""

    def told():
        time.sleep(12)
        return partner.one("SELECT active_time FROM pg_stat_database WHERE datname = current_database()") / 1000

    before = told()
    for number in range(requests):
        question(number)
    return (told() - before) / requests


def windows(small, large, told):
    ours, usual = small.export("banc"), small.export("Vue usuelle")
    published, view = compared(
        lambda n: small.ask(ours, window(1 + 3000 * n))[0], lambda n: small.ask(usual, window(1 + 3000 * n))[0]
    )
    told("a window of 1 000, usual view, 100 000 rows", view, "s")
    told("a window of 1 000, published, 100 000 rows", published, "s")
    told("ratio (≤ 0.10)", published / view, "")
    published, view = (
        database_seconds(small, lambda n, export=export: small.ask(export, window(1 + 3000 * n))) for export in (ours, usual)
    )
    told("in the database alone, usual view", view, "s")
    told("in the database alone, published", published, "s")
    told("ratio", published / view, "")
    bodies = [small.ask(export, window(30001))[1] for export in (ours, usual)]
    records = [len(json.loads(body)["items"]) for body in bodies]
    sizes = [len(body) / count for body, count in zip(bodies, records)]
    told("bytes an observation, usual view", sizes[1], "")
    told("bytes an observation, published", sizes[0], "")
    told("ratio (≤ 0.45)", sizes[0] / sizes[1], "")
    at_small, at_large, count_small, count_large = compared(
        lambda n: small.ask(ours, window(1 + 3000 * n))[0],
        lambda n: large.ask(large.export("banc"), window(500001 + 3000 * n))[0],
        lambda n: count_seconds(small),
        lambda n: count_seconds(large),
    )
    told("a window, 1 000 000 rows", at_large, "s")
    told("the count of all, 100 000 rows", count_small, "s")
    told("the count of all, 1 000 000 rows", count_large, "s")
    told("ratio of windows without it (≤ 1.3)", (at_large - count_large) / (at_small - count_small), "")


def plan_of_the_count(large, told):
    cursor = large.database.cursor()
    cursor.execute("EXPLAIN SELECT count(*) FROM (SELECT * FROM gn_exports.v_banc_observations) a")
    plan = "\n".join(line for (line,) in cursor.fetchall())
    told("the count of 1 000 000 is an index-only scan", "yes" if "Index Only Scan" in plan else "NO\n" + plan, "")


def increment(large, told):
    first = large.one("SELECT max(id_synthese) / 2 FROM gn_synthese.synthese")
    since = large.one("SELECT localtimestamp")
    large.run(
        f"UPDATE gn_synthese.synthese SET comment_context = 'relu' WHERE id_synthese BETWEEN {first} AND {first + ROWS_CHANGED - 1}"
    )
    asked = "limit=1000&orderby=id_synthese&filter_d_up_derniere_action=" + str(since).replace(" ", "+")
    export = large.export("banc")
    body = json.loads(large.ask(export, asked)[1])
    assert len(body["items"]) == ROWS_CHANGED, len(body["items"])
    (seconds,) = compared(lambda n: large.ask(export, asked)[0])
    told("1 000 changed of 1 000 000, asked by date (≤ 1 s)", seconds, "s")


def main():
    small, large = Partner(sys.argv[1]), Partner(sys.argv[2])

    def told(what, value, unit):
        print(f"{what:55} {value if isinstance(value, str) else format(value, '.3f')} {unit}", flush=True)

    try:
        windows(small, large, told)
        plan_of_the_count(large, told)
        increment(large, told)
    finally:
        for partner in (small, large):
            partner.process.terminate()


if __name__ == "__main__":
    main()
