"""What a program does with the Docker SDK for Python (Debian's)."""
import io
import tarfile

import docker

IMAGE = "busybox:test"
c = docker.from_env()
assert c.ping()
assert c.version()["Os"] == "linux" and c.info()["Driver"] == "overlayfs"

assert c.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"
try:
    c.containers.run(IMAGE, "sh -c 'echo bad >&2; exit 3'", remove=True)
    raise SystemExit("exit code 3 went unnoticed")
except docker.errors.ContainerError as e:
    assert (e.exit_status, e.stderr) == (3, b"bad\n"), e
try:
    c.containers.get("nobody")
    raise SystemExit("nobody was found")
except docker.errors.NotFound as e:
    assert "No such container: nobody" in str(e), e

net = c.networks.create("pynet", driver="bridge", labels={"l": "1"})
x = c.containers.run(
    IMAGE, "sh -c 'echo up; exec sleep 1000'", detach=True, init=True, name="py", network="pynet",
    labels={"a": "b"}, ports={"80/tcp": ("127.0.0.1", None)}, mem_limit="64m", environment={"A": "1"},
    volumes={"pyvol": {"bind": "/v", "mode": "rw"}}, mac_address="02:42:0a:00:00:07",
)
assert x.exec_run("sh -c 'echo $A; exit 4'") == (4, b"1\n")
assert x.exec_run("sh -c 'echo o; echo e >&2'", demux=True) == (0, (b"o\n", b"e\n"))
assert b"".join(x.exec_run("sh -c 'echo 1; echo 2'", stream=True)[1]) == b"1\n2\n"
x.reload()
end = x.attrs["NetworkSettings"]["Networks"]["pynet"]
assert x.status == "running" and x.ports["80/tcp"][0]["HostIp"] == "127.0.0.1", x.attrs
assert end["MacAddress"] == "02:42:0a:00:00:07" and x.attrs["Id"][:12] in end["Aliases"], end
assert x.attrs["NetworkSettings"]["IPAddress"] == "" and x.image.tags == [IMAGE]
assert x.attrs["HostConfig"]["Memory"] == 64 << 20
assert c.containers.get("py").name == x.name
assert x.logs() == b"up\n" and next(x.logs(stream=True, follow=True)) == b"up\n"
assert "PID" in x.top()["Titles"]

img = c.images.get(IMAGE)
assert img.attrs["VirtualSize"] == img.attrs["Size"] and img.attrs["ContainerConfig"]["Image"] == ""
assert img.attrs["GraphDriver"]["Name"] == "overlayfs" and img.tag("again", "1") and c.images.get("again:1").id == img.id
c.images.remove("again:1")

sock = x.exec_run("cat", stdin=True, socket=True)[1]._sock
sock.sendall(b"hello\n")
got = b""
while len(got) < 14:
    got += sock.recv(100)
assert got == b"\x01\0\0\0\0\0\0\x06hello\n", got
sock.close()

b = io.BytesIO()
with tarfile.open(fileobj=b, mode="w") as t:
    i = tarfile.TarInfo("f")
    i.size = 3
    t.addfile(i, io.BytesIO(b"abc"))
assert x.put_archive("/tmp", b.getvalue())
assert x.exec_run("cat /tmp/f") == (0, b"abc")
chunks, stat = x.get_archive("/tmp/f")
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as t:
    assert t.extractfile("f").read() == b"abc" and stat["size"] == 3

s = x.stats(stream=False)
assert s["memory_stats"]["usage"] > 0 and s["cpu_stats"]["cpu_usage"]["total_usage"] > 0, s
df = c.df()
assert df["Images"][0]["VirtualSize"] > 0 and any(v["Name"] == "pyvol" for v in df["Volumes"]), df
c.networks.get("bridge").connect(x)
x.reload()
assert x.attrs["NetworkSettings"]["IPAddress"] != ""
c.networks.get("bridge").disconnect(x)

assert [y.name for y in c.containers.list(filters={"label": "a=b", "status": "running"})] == ["py"]
x.pause()
x.reload()
assert x.status == "paused"
x.unpause()
x.rename("py2")
x.stop(timeout=0)
assert x.wait()["StatusCode"] in (137, 143)  # killed at once, unless the init was faster to pass the first signal on
x.remove(v=True)
net.remove()
c.volumes.get("pyvol").remove()

seen = [e["status"] for e in c.events(since=1, until=c.info()["SystemTime"], decode=True, filters={"container": x.id})]
for wanted in ["create", "start", "exec_die", "pause", "unpause", "rename", "kill", "die", "stop", "destroy"]:
    assert wanted in seen, (wanted, seen)
print("all is well with version", c.api._version)
