"""What watching costs GeoNature's own writes: 20 000 observations inserted, then as many updated twice, with GeoNature's triggers
and checks on. Each time in a transaction that is rolled back.

    python triggers.py URI [ROUNDS]

bare: no publication; watched: one that filters by dataset, taxon, date, sensitivity and diffusion level, without the index
of increments; indexed: the same with it. Processor time of the server's process, not the clock: the machine may have
other work. The three take turns; medians are told.
"""

import collections
import os
import statistics
import sys

import psycopg2

ROWS = 20000
TICK = os.sysconf("SC_CLK_TCK")
FILTERED = """SELECT gn_harvest.publish_export('mesure', sensitivity_max => '4', date_min => '1900-01-01',
                  diffusion_levels => '{0,1,2,3,4,5,NULL}', taxa => (SELECT array_agg(cd_nom) FROM taxonomie.taxref),
                  datasets => (SELECT array_agg(unique_dataset_id) FROM gn_meta.t_datasets), concurrently => %s)"""
# Left to the operator, the index is not there.
STATES = {"bare": [], "watched": [FILTERED % "true"], "indexed": [FILTERED % "false"]}
INSERT = "INSERT INTO gn_synthese.synthese SELECT * FROM taken"
UPDATE = f"""UPDATE gn_synthese.synthese SET comment_context = 'relu', observers = 'Personne'
             WHERE id_synthese BETWEEN {ROWS + 1} AND {2 * ROWS}"""


# Of columns that the publication filters by: each row is looked at, and stays.
MOVE = f"""UPDATE gn_synthese.synthese SET date_min = date_min - interval '1 day'
           WHERE id_synthese BETWEEN {2 * ROWS + 1} AND {3 * ROWS}"""
WRITES = {"insert": INSERT, "update": UPDATE, "update of what is filtered by": MOVE}


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(uri, state):
    """Processor seconds of each write."""
    connection = psycopg2.connect(uri)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("VACUUM ANALYZE gn_synthese.synthese")
    cursor.execute("BEGIN")
    for statement in STATES[state]:
        cursor.execute(statement)
    cursor.execute(f"CREATE TEMPORARY TABLE taken AS SELECT * FROM gn_synthese.synthese WHERE id_synthese <= {ROWS}")
    cursor.execute("UPDATE taken SET id_synthese = id_synthese + 100000000, unique_id_sinp = gen_random_uuid()")
    pid = connection.info.backend_pid
    seconds = []
    for statement in WRITES.values():
        begun = processor_seconds(pid)
        cursor.execute(statement)
        seconds.append(processor_seconds(pid) - begun)
    cursor.execute("ROLLBACK")
    connection.close()
    return seconds


def main():
    uri, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    spent = collections.defaultdict(list)
    connection = psycopg2.connect(uri)
    connection.autocommit = True
    # What was published for other measures is not to be in the way.
    cursor = connection.cursor()
    cursor.execute("SELECT gn_harvest.unpublish_export(label) FROM gn_harvest.publication")
    for _ in range(rounds):
        for state in STATES:
            for write, seconds in zip(WRITES, measure(uri, state)):
                spent[write, state].append(seconds)
    for write in WRITES:
        bare = statistics.median(spent[write, "bare"])
        for state in STATES:
            median = statistics.median(spent[write, state])
            print(f"{write} {state:8} {median:7.2f} s {median / bare - 1:+7.1%}   of {spent[write, state]}", flush=True)


if __name__ == "__main__":
    main()
