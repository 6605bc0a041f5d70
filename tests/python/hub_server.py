"""A model hub on this machine that speaks the Hugging Face Hub's file API, and can be told to misbehave.

Large files (`*.safetensors`, `*.bin`) are answered with a redirect to a second server, the store, as the Hub does.
"""

import collections
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

LARGE = (".safetensors", ".bin")
TITLE, BOT = "Adding `safetensors` variant of this model", "SFconvertbot"


def sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(files):
    return hashlib.sha1(repr(sorted((name, sha1(data)) for name, data in files.items())).encode()).hexdigest()


def folder_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


Request = collections.namedtuple("Request", "path headers")


class Served:
    """One HTTP server in a thread; `answer(handler)` gets every GET, and the log what was asked."""

    def __init__(self, answer):
        log = self.log = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                log.append(Request(self.path, dict(self.headers)))
                answer(self)

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, address):
                """A client that went away is no error here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def reply(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in {"Content-Length": len(body), **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


class Hub:
    def __init__(self):
        self.commits, self.refs, self.discussions, self.gated, self.private = {}, {}, {}, {}, {}
        self.large = {}  # sha256 -> bytes
        # What goes wrong. Each is used up as it happens.
        self.statuses = []  # (status, headers) for the next requests to the hub
        self.cuts = []  # the next downloads from the store end after so many bytes, and the connection with them
        self.wrong = {}  # sha256 -> bytes that are sent in its place
        self.claims = {}  # sha256 -> Content-Length that is sent in place of the real one
        self.etags = {}  # sha256 -> ETag, changed by tests between two requests
        self.ranges = True  # whether the store heeds Range
        self.page = 1000  # entries in one answer of a tree
        self.sent = collections.Counter()  # sha256 -> bytes of bodies sent
        self.main, self.store = Served(self.answer), Served(self.answer_store)
        self.url = self.main.url

    def close(self):
        self.main.close()
        self.store.close()

    def add(self, name, files, ref="main", siblings=None):
        """Makes a commit of `files`; returns its id."""
        commit = commit_of(files)
        self.commits[name, commit] = (dict(files), siblings or sorted(files))
        self.refs[name, ref] = commit
        self.large.update({hashlib.sha256(data).hexdigest(): data for path, data in files.items() if path.endswith(LARGE)})
        return commit

    def propose(self, name, number, files, author=BOT, title=TITLE, status="open"):
        """Opens a pull request with these files on its branch."""
        self.discussions.setdefault(name, []).append({"num": number, "title": title, "status": status, "isPullRequest": True,
                                                      "author": {"name": author}})
        return self.add(name, files, f"refs/pr/{number}")

    def asked(self, part):
        return [request for request in self.main.log if part in request.path]

    def answer(self, handler):
        if self.statuses:
            status, headers = self.statuses.pop(0)
            return reply(handler, status, b"busy", **headers)
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        api = re.fullmatch(r"/api/models/(.+?)/(revision|tree|discussions)(?:/([^/]+))?", url.path)
        file = re.fullmatch(r"/(.+?)/resolve/([0-9a-f]{40})/(.+)", url.path)
        name = (api or file)[1] if api or file else ""
        if not any(known == name for known, _ in self.commits):
            return reply(handler, 401, X_Error_Code="RepoNotFound")
        token = handler.headers.get("Authorization")
        if name in self.private and token != f"Bearer {self.private[name]}":
            return reply(handler, 401, X_Error_Code="RepoNotFound")
        if file and name in self.gated and token != f"Bearer {self.gated[name]}":
            return reply(handler, 403 if token else 401, X_Error_Code="GatedRepo")
        if file:
            return self.answer_file(handler, name, file[2], urllib.parse.unquote(file[3]))
        if api[2] == "discussions":
            mine = self.discussions.get(name, [])
            start = int(query.get("p", 0))  # one on a page
            return self.json(handler, {"discussions": mine[start:start + 1], "count": len(mine), "start": start})
        revision = urllib.parse.unquote(api[3])
        commit = self.refs.get((name, revision), revision)
        if (name, commit) not in self.commits:
            return reply(handler, 404, X_Error_Code="RevisionNotFound")
        files, siblings = self.commits[name, commit]
        if api[2] == "revision":
            return self.json(handler, {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in siblings]})
        start = int(query.get("cursor", 0))
        entries = [self.entry(path, files[path]) for path in sorted(files)][start:start + self.page]
        more = {"Link": f'<{self.url}{url.path}?recursive=true&cursor={start + self.page}>; rel="next"'} if start + self.page < len(files) else {}
        self.json(handler, entries, **more)

    def entry(self, path, data):
        found = {"type": "file", "path": path, "size": len(data), "oid": sha1(data)}
        if path.endswith(LARGE):
            found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return found

    def json(self, handler, value, **headers):
        reply(handler, 200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def answer_file(self, handler, name, commit, path):
        data = self.commits.get((name, commit), ({}, ()))[0].get(path)
        if data is None:
            return reply(handler, 404, X_Error_Code="EntryNotFound")
        if path.endswith(LARGE):
            digest = hashlib.sha256(data).hexdigest()
            return reply(handler, 302, Location=f"{self.store.url}/{digest}?signature=secret", X_Linked_Etag=f'"{digest}"')
        reply(handler, 200, self.wrong.get(path, data), ETag=f'"{sha1(data)}"')

    def answer_store(self, handler):
        digest = urllib.parse.urlsplit(handler.path).path[1:]
        data = self.wrong.get(digest, self.large[digest])
        etag = self.etags.get(digest, f'"{digest}"')
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if self.ranges and asked and handler.headers.get("If-Range", etag) == etag:
            start = int(asked[1])
        if start >= len(data) and data:
            return reply(handler, 416)
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(self.claims.get(digest, len(data) - start)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        body = data[start:]
        if self.cuts:
            body = body[:self.cuts.pop(0)]
        self.sent[digest] += len(body)
        handler.wfile.write(body)
        if len(body) < len(data) - start:
            # Before the end, but with all that was sent delivered: tests count bytes.
            handler.close_connection = True
