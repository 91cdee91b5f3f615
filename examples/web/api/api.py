"""The guest book's API: who was here is in PostgreSQL, how often it was asked for is counted in Redis.

GET /          the entries and the number of visits
POST /         an entry: the body is a name
GET /health    whether both answer
"""

import http.server
import json
import os
import sys
import urllib.request

import psycopg2
import redis

PORT = 8000
TABLE = "create table if not exists guests (id serial primary key, name text not null, at timestamptz default now())"


def database():
    """A connection; leaving it by `with` commits."""
    with open(os.environ["POSTGRES_PASSWORD_FILE"]) as file:
        password = file.read().rstrip("\n")
    return psycopg2.connect(
        host="db", user=os.environ["POSTGRES_USER"], dbname=os.environ["POSTGRES_DB"], password=password
    )


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with database() as connection, connection.cursor() as cursor:
            if self.path == "/health":
                cursor.execute("select 1")
                return self.answer(200, {"healthy": cache.ping()})
            cursor.execute("select id, name from guests order by id")
            guests = [{"id": id, "name": name} for id, name in cursor]
        self.answer(200, {"visits": cache.incr("visits"), "guests": guests})

    def do_POST(self):
        name = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode().strip()
        if not name:
            return self.answer(400, {"error": "the body is a name"})
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("insert into guests (name) values (%s) returning id", [name])
            id = cursor.fetchone()[0]
        # Committed: from here on it is not lost.
        self.answer(201, {"id": id, "name": name})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if sys.argv[1:] == ["--health"]:
    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
    sys.exit()

cache = redis.Redis(host="cache")
with database() as connection, connection.cursor() as cursor:
    cursor.execute(TABLE)
print(f"listening on port {PORT}", flush=True)
http.server.ThreadingHTTPServer(("", PORT), Api).serve_forever()
