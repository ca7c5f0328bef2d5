// ioredis over its own interface. Its package carries no tests.
"use strict";

const assert = require("node:assert/strict");
const { Redis, ReplyError } = require("ioredis");
const { port, until, main } = require("./common.cjs");

const connect = (options) => new Redis({ port, host: "127.0.0.1", ...options });
const fresh = async (options) => {
  const redis = connect(options);
  await redis.flushall();
  return redis;
};

main({
  async values() {
    const redis = await fresh();
    assert.equal(await redis.set("key", "value", "EX", 100, "NX"), "OK");
    assert.equal(await redis.set("key", "other", "NX"), null);
    assert.equal(await redis.get("key"), "value");
    assert.ok((await redis.ttl("key")) > 90);
    const bytes = Buffer.from([0, 255, 13, 10, 128]);
    await redis.set(bytes, bytes);
    assert.deepEqual(await redis.getBuffer(bytes), bytes);
    assert.deepEqual(await redis.mget("key", "none"), ["value", null]);
    // Maps and objects are flattened on the way, and replies become objects.
    await redis.hset("hash", { a: 1, b: "two" });
    await redis.hset("hash", new Map([["c", "3"]]));
    assert.deepEqual(await redis.hgetall("hash"), { a: "1", b: "two", c: "3" });
    assert.deepEqual(await redis.hgetall("none"), {});
    await redis.mset({ x: 1, y: 2 });
    assert.equal(await redis.incrbyfloat("x", 0.5), "1.5");
    assert.equal(await redis.zadd("sorted", 1, "one", 2, "two"), 2);
    assert.deepEqual(await redis.zrange("sorted", 0, -1, "WITHSCORES"), ["one", "1", "two", "2"]);
    assert.deepEqual((await redis.sort("none")), []);
    await assert.rejects(redis.incr("hash"), (error) => error instanceof ReplyError && error.message.startsWith("WRONGTYPE "));
    redis.disconnect();
  },

  async pipelines() {
    const redis = await fresh();
    const results = await redis.pipeline().set("a", 1).incr("a").lpush("a", 1).get("a").exec();
    assert.deepEqual(results.map(([error, value]) => (error ? error.message.split(" ")[0] : value)), ["OK", 2, "WRONGTYPE", "2"]);
    // A batch larger than any buffer between.
    const many = redis.pipeline();
    for (let n = 0; n < 20000; n++) many.set(`key:${n}`, "x".repeat(n % 100));
    assert.ok((await many.exec()).every(([error, value]) => !error && value === "OK"));
    assert.equal(await redis.dbsize(), 20001);
    redis.disconnect();
  },

  async transactions() {
    const redis = await fresh();
    assert.deepEqual(await redis.multi().set("a", 1).incr("a").exec(), [[null, "OK"], [null, 2]]);
    await redis.watch("a");
    const other = connect();
    await other.set("a", 10);
    assert.equal(await redis.multi().incr("a").exec(), null);
    await assert.rejects(redis.multi().set("a").exec(), /EXECABORT/);
    // Each command on its own instead of one pipeline.
    await redis.multi({ pipeline: false });
    assert.equal(await redis.set("b", 1), "QUEUED");
    assert.deepEqual(await redis.exec(), [[null, "OK"]]);
    redis.disconnect();
    other.disconnect();
  },

  async automatic_pipelines() {
    const redis = await fresh({ enableAutoPipelining: true });
    const replies = await Promise.all(Array.from({ length: 500 }, (_, n) => redis.incr(`n:${n % 5}`)));
    assert.equal(Math.max(...replies), 100);
    redis.disconnect();
  },

  async scripts() {
    const redis = await fresh({
      scripts: { addUp: { numberOfKeys: 2, lua: "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2]) + ARGV[1]" } },
    });
    await redis.mset("a", 1, "b", 2);
    assert.equal(await redis.addUp("a", "b", 39), 42);
    // Forgotten by the server: the client says it again.
    await redis.script("FLUSH");
    assert.equal(await redis.addUp("a", "b", 39), 42);
    assert.deepEqual(await redis.pipeline().addUp("a", "b", 0).addUp("a", "b", 1).exec(), [[null, 3], [null, 4]]);
    redis.defineCommand("echoAll", { lua: "return {KEYS, ARGV}" });
    assert.deepEqual(await redis.echoAll(1, "k", "x", "y"), [["k"], ["x", "y"]]);
    redis.disconnect();
  },

  async scanning() {
    const redis = await fresh();
    for (let n = 0; n < 3000; n++) redis.set(`scan:${n}`, n);
    await redis.sadd("members", ...Array.from({ length: 2000 }, (_, n) => `m${n}`));
    const collect = async (stream) => {
      const seen = new Set();
      for await (const some of stream) some.forEach((one) => seen.add(one));
      return seen.size;
    };
    assert.equal(await collect(redis.scanStream({ match: "scan:*", count: 100 })), 3000);
    assert.equal(await collect(redis.scanStream({ type: "set" })), 1);
    assert.equal(await collect(redis.sscanStream("members", { match: "m1*" })), 1111);
    redis.disconnect();
  },

  async messages() {
    const publisher = await fresh();
    const subscriber = connect();
    const heard = [];
    subscriber.on("message", (channel, message) => heard.push([channel, message]));
    subscriber.on("pmessage", (pattern, channel, message) => heard.push([pattern, channel, message]));
    assert.equal(await subscriber.subscribe("news", "sport"), 2);
    assert.equal(await subscriber.psubscribe("n?ws"), 3);
    // With RESP3, its default, a subscriber may do other things beside.
    assert.equal(await subscriber.get("none"), null);
    assert.equal(await publisher.publish("news", "one"), 2);
    assert.equal(await publisher.publish("sport", "two"), 1);
    await until(() => heard.length === 3, "three messages");
    assert.deepEqual(heard, [["news", "one"], ["n?ws", "news", "one"], ["sport", "two"]]);
    // Killed: it comes back by itself and subscribes again.
    await publisher.client("KILL", "TYPE", "pubsub");
    await until(async () => (await publisher.pubsub("NUMSUB", "sport"))[1] === 1 && (await publisher.pubsub("NUMPAT")) === 1, "subscribed again");
    await publisher.publish("sport", "three");
    await until(() => heard.length === 4, "a fourth message");
    await subscriber.unsubscribe("news", "sport");
    assert.equal(await subscriber.punsubscribe("n?ws"), 0);
    assert.equal(await subscriber.ping(), "PONG");
    publisher.disconnect();
    subscriber.disconnect();
  },

  async streams_and_waiting() {
    const redis = await fresh();
    const waiting = connect();
    const popped = waiting.blpop("queue", 20);
    await until(async () => (await redis.client("LIST")).includes("cmd=blpop"), "a client that waits");
    await redis.rpush("queue", "job");
    assert.deepEqual(await popped, ["queue", "job"]);
    await redis.xgroup("CREATE", "stream", "group", "$", "MKSTREAM");
    const read = waiting.xreadgroup("GROUP", "group", "me", "BLOCK", 20000, "STREAMS", "stream", ">");
    const id = await redis.xadd("stream", "*", "field", "value");
    assert.deepEqual(await read, [["stream", [[id, ["field", "value"]]]]]);
    assert.equal(await redis.xack("stream", "group", id), 1);
    redis.disconnect();
    waiting.disconnect();
  },

  async lost_connections() {
    const redis = await fresh({ retryStrategy: () => 10 });
    const other = connect();
    const waiting = redis.blpop("none", 0);
    await until(async () => (await other.client("LIST")).includes("cmd=blpop"), "a client that waits");
    await other.client("KILL", "ID", await until(async () => /id=(\d+)[^\n]*cmd=blpop/.exec(await other.client("LIST"))?.[1], "its id"));
    // What was under way is sent again on the new connection.
    await until(async () => (await other.client("LIST")).includes("cmd=blpop"), "the client that waits again");
    await other.rpush("none", "x");
    assert.deepEqual(await waiting, ["none", "x"]);
    redis.disconnect();
    other.disconnect();
  },

  async databases_and_names() {
    const redis = await fresh({ db: 3, connectionName: "worker", keyPrefix: "app:" });
    await redis.set("key", 1);
    const plain = connect();
    assert.equal(await plain.exists("app:key"), 0);
    await plain.select(3);
    assert.deepEqual(await plain.keys("*"), ["app:key"]);
    assert.match(await plain.client("LIST"), /name=worker .*db=3/);
    redis.disconnect();
    plain.disconnect();
  },
});
