"""A stand-in for the Hub on this machine: the requests that publishing makes, with commits taken whole, and faults to order."""
import base64
import hashlib
import json
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import yaml

#: Token → whether it may write.
TOKENS = {'hf_writer': True, 'hf_reader': False}


def is_large(path: str) -> bool:
    "Say whether the Hub keeps a file beside git."
    return path.endswith(('.onnx', '.safetensors', '.jpg', '.png', '.webp'))


class Refused(Exception):
    "Answer with a status and a message."


class Hub(ThreadingHTTPServer):
    "Repos with their commits, and large files that no commit names yet."
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Request)
        self.repos, self.private, self.gated, self.large = {}, {}, {}, {}
        self.asked = {}  # what each repo was made with
        self.requests, self.cuts, self.faults, self.held, self.mute, self.down = [], 0, {}, False, False, None
        self.uploading, self.go_on, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': .02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        "Its address."
        return f'http://127.0.0.1:{self.server_port}'

    def close(self) -> None:
        "Stop it."
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def files(self, name: str) -> dict[str, bytes]:
        "Give the files of a repo as they are published."
        return {path: self.large[o] if isinstance(o, str) else o for path, o in self.repos[name][-1][1].items()}

    def handle_error(self, request, client_address):
        "Say nothing: a client that was killed is no fault of the Hub."

    def publish(self, name: str, files: dict[str, bytes]) -> None:
        "Hold a public repo."
        self.private[name] = False
        self.commit(name, files)

    def commit(self, name: str, files: dict) -> str:
        "Add a commit."
        oid = hashlib.sha1(f'{name} {len(self.repos.get(name, ()))} {sorted(files)}'.encode()).hexdigest()
        self.repos.setdefault(name, []).append((oid, files))
        return oid


class Request(BaseHTTPRequestHandler):
    "One request."
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args): "Say nothing."

    def answer(self, content, status: int = 200, **headers) -> None:
        "Send JSON."
        data = json.dumps(content).encode()
        self.send_response(status)
        if self.command == 'HEAD': data = b''
        for name, value in {'Content-Type': 'application/json', 'Content-Length': str(len(data)), **headers}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(data)

    def serve(self) -> None:
        "Find the answer."
        self.path, hub = urlsplit(self.path).path, self.server
        hub.requests.append((self.command, self.path))
        try:
            if hub.down: raise Refused(hub.down, 'Out of order')
            if '/resolve/' in self.path: return self.resolve()
            if self.path.startswith('/objects/'): return self.put_large()
            self.data = self.rfile.read(int(self.headers.get('Content-Length', 0)))
            token = (self.headers.get('Authorization') or '').removeprefix('Bearer ')
            if self.command == 'GET' and self.is_public(): return self.answer(self.found())
            if not token: raise Refused(401, 'Repository not found', 'RepoNotFound')  # to strangers a private repo looks like none
            if token not in TOKENS: raise Refused(401, 'Invalid credentials in Authorization header')
            if self.command in ('POST', 'PUT') and not self.path.endswith('validate-yaml') and not TOKENS[token]:
                raise Refused(403, f'This token {token} may only read')
            for part, status in hub.faults.items():
                if part in self.path and self.command == 'POST': raise Refused(status, 'Out of order')
            found = self.found()
            if self.server.mute and '/commit/' in self.path: return self.cut()
            self.answer(found)
        except Refused as refused:
            status, message, *named = refused.args
            code = {'X_Error_Code': named[0] if named else 'RepoNotFound'} if named or status == 404 else {}
            self.answer({'error': message}, status, X_Error_Message=message, **code)

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def is_public(self) -> bool:
        "Return whether anybody may read what is asked for."
        match = re.fullmatch(r'/api/(?:model|dataset)s/([^/]+/[^/]+)(?:/(?:revision|tree)/.*)?', self.path)
        return bool(match) and self.server.private.get(match[1]) is False

    def commit_of(self, name: str, revision: str) -> tuple[str, dict]:
        "Return a commit and its files by its hash or by the only branch."
        known = {**dict(self.server.repos[name]), 'main': None}
        if revision not in known: raise Refused(404, f'No revision {revision}', 'RevisionNotFound')
        return next(o for o in self.server.repos[name][::-1] if revision in ('main', o[0]))

    def resolve(self) -> None:
        "Send a file of a public repo, or its headers."
        name, revision, path = re.fullmatch(r'/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)', self.path).groups()
        hub = self.server
        if hub.private.get(name, True):
            return self.answer({'error': 'Repository not found'}, 404, X_Error_Code='RepoNotFound')
        if hub.gated.get(name) and (self.headers.get('Authorization') or '')[7:] not in TOKENS:
            raise Refused(403, 'Access to this repo is restricted', 'GatedRepo')
        commit, files = self.commit_of(name, revision)
        data = files.get(path)
        if isinstance(data, str): data = hub.large[data]
        if data is None: return self.answer({'error': 'Entry not found'}, 404, X_Error_Code='EntryNotFound')
        self.send_response(200)
        for header, value in {'Content-Length': str(len(data)), 'ETag': f'"{hashlib.sha1(data).hexdigest()}"',
                              'X-Repo-Commit': commit}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == 'GET': self.wfile.write(data)

    def found(self):
        "Give the JSON for a request."
        if self.path == '/api/repos/create': return self.create()
        if self.path == '/api/validate-yaml': return self.validate()
        repo = r'/api/(?:model|dataset|space)s/([^/]+/[^/]+)'
        for pattern, method in ((r'/(?:spaces/|datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch', self.batch),
                                (f'{repo}/preupload/main', self.preupload), (f'{repo}/commit/main', self.take_commit),
                                (f'{repo}/hardware', self.hardware), (f'{repo}/settings', self.settings), (f'{repo}/tree/([^/]+)', self.tree),
                                (f'{repo}/revision/([^/]+)', self.info), (repo, self.info)):
            match = re.fullmatch(pattern, self.path)
            if match and match[1] not in self.server.repos: raise Refused(404, 'Repository not found')
            if match: return method(*match.groups())
        raise Refused(404, f'Nothing at {self.path}')

    def create(self):
        asked, hub = json.loads(self.data), self.server
        name = f"{asked['organization']}/{asked['name']}"
        assert asked.get('type') != 'space' or asked['sdk'] in ('gradio', 'static')
        if name in hub.repos: raise Refused(409, 'You already created this repo')
        hub.private[name] = asked.get('visibility') == 'private'
        hub.commit(name, {'.gitattributes': b'*.bin filter=lfs diff=lfs merge=lfs -text\n'})
        hub.asked[name] = asked
        return {'url': f"{hub.url}/{f'{kind}s/' if (kind := asked.get('type', 'model')) != 'model' else ''}{name}"}

    def hardware(self, name: str):
        wanted = json.loads(self.data)['flavor']
        self.server.asked[name]['hardware'] = wanted
        return {'stage': 'BUILDING', 'hardware': {'current': None, 'requested': wanted}}

    def settings(self, name: str):
        self.server.gated[name] = json.loads(self.data).get('gated', False)
        return {}

    def validate(self):
        content = json.loads(self.data)['content']
        assert yaml.safe_load(content.split('---\n')[1])['license']
        return {'errors': [], 'warnings': []}

    def info(self, name: str, revision: str = 'main'):
        return {'id': name, '_id': '0', 'sha': self.commit_of(name, revision)[0], 'private': self.server.private[name],
                'gated': self.server.gated.get(name, False), 'tags': [], 'siblings': []}

    def tree(self, name: str, revision: str = 'main'):
        rows = []
        for path, kept in self.commit_of(name, revision)[1].items():
            data = self.server.large[kept] if isinstance(kept, str) else kept
            row = {'type': 'file', 'path': path, 'size': len(data), 'oid': hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()}
            if isinstance(kept, str): row |= {'oid': '0'*40, 'lfs': {'oid': kept, 'size': len(data), 'pointerSize': 130}}
            rows.append(row)
        return rows

    def preupload(self, name: str):
        return {'files': [{'path': o['path'], 'uploadMode': 'lfs' if is_large(o['path']) else 'regular', 'shouldIgnore': False}
                          for o in json.loads(self.data)['files']]}

    def batch(self, name: str):
        hub, objects = self.server, json.loads(self.data)['objects']
        return {'transfer': 'basic', 'objects': [
            {**o, **({} if o['oid'] in hub.large else {'actions': {'upload': {'href': f"{hub.url}/objects/{o['oid']}"}}})} for o in objects]}

    def cut(self) -> None:
        "Reset the connection, without a farewell."
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close_connection = True
        self.connection.close()

    def put_large(self) -> None:
        "Take a large file; cut the line in the middle of it, or wait there, where that is ordered."
        hub, size = self.server, int(self.headers['Content-Length'])
        data = self.rfile.read(size//2)
        with hub.lock: cut, hub.cuts = hub.cuts > 0, max(0, hub.cuts - 1)
        if cut: return self.cut()
        if hub.held:
            hub.uploading.set()
            hub.go_on.wait(30)
        data += self.rfile.read(size - len(data))
        assert hashlib.sha256(data).hexdigest() == self.path.rpartition('/')[2]
        hub.large[hashlib.sha256(data).hexdigest()] = data
        self.answer({})

    def take_commit(self, name: str):
        "Take a commit whole or not at all."
        hub, lines = self.server, [json.loads(o) for o in self.data.splitlines()]
        with hub.lock:
            head, files = hub.repos[name][-1]
            if lines[0]['value'].get('parentCommit') != head: raise Refused(412, 'A commit has happened since')
            files = dict(files)
            for line in lines[1:]:
                value = line['value']
                if line['key'] == 'file': files[value['path']] = base64.b64decode(value['content'])
                elif line['key'] == 'lfsFile':
                    if value['oid'] not in hub.large: raise Refused(400, f"{value['path']} was not uploaded")
                    files[value['path']] = value['oid']
                elif line['key'] == 'deletedFile': del files[value['path']]
                else: raise Refused(400, f"What is {line['key']}?")
            oid = hub.commit(name, files)
        return {'commitOid': oid, 'commitUrl': f'{hub.url}/{name}/commit/{oid}', 'pullRequestUrl': None}
