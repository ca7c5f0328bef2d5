// node-redis over its own interface. Its packages carry no tests.
"use strict";

const assert = require("node:assert/strict");
const { createClient, createClientPool, defineScript, ErrorReply, WatchError } = require("redis");
const { port, until, main } = require("./common.cjs");

const open = async (options) => {
  const client = createClient({ socket: { port, host: "127.0.0.1", reconnectStrategy: 10 }, ...options });
  client.on("error", () => {});
  await client.connect();
  return client;
};
const fresh = async (options) => {
  const client = await open(options);
  await client.flushAll();
  return client;
};

const cases = {};
for (const RESP of [2, 3]) {
  Object.assign(cases, {
    async [`values ${RESP}`]() {
      const client = await fresh({ RESP });
      assert.equal(await client.set("key", "value", { expiration: { type: "EX", value: 100 }, condition: "NX" }), "OK");
      assert.equal(await client.set("key", "value", { condition: "NX" }), null);
      assert.equal(await client.get("key"), "value");
      await client.hSet("hash", { a: "1", b: "2" });
      assert.deepEqual({ ...(await client.hGetAll("hash")) }, { a: "1", b: "2" });
      await client.zAdd("sorted", [{ score: 1.5, value: "one" }, { score: Infinity, value: "last" }]);
      assert.deepEqual(await client.zRangeWithScores("sorted", 0, -1), [{ value: "one", score: 1.5 }, { value: "last", score: Infinity }]);
      assert.equal(await client.zScore("sorted", "one"), 1.5);
      await client.geoAdd("places", { longitude: 13.4, latitude: 52.5, member: "berlin" });
      assert.equal((await client.geoSearch("places", { longitude: 13, latitude: 52 }, { radius: 100, unit: "km" })).length, 1);
      await assert.rejects(client.incr("hash"), (error) => error instanceof ErrorReply && error.message.startsWith("WRONGTYPE "));
      assert.equal(await client.sendCommand(["OBJECT", "ENCODING", "hash"]), "listpack");
      client.destroy();
    },

    async [`transactions ${RESP}`]() {
      const client = await fresh({ RESP });
      assert.deepEqual(await client.multi().set("a", "1").incr("a").get("a").exec(), ["OK", 2, "2"]);
      await client.watch("a");
      const other = await open({ RESP });
      await other.set("a", "10");
      await assert.rejects(client.multi().incr("a").exec(), WatchError);
      assert.equal((await Promise.all(Array.from({ length: 1000 }, () => client.incr("n")))).at(-1), 1000);
      client.destroy();
      other.destroy();
    },

    async [`scanning ${RESP}`]() {
      const client = await fresh({ RESP });
      await Promise.all(Array.from({ length: 2000 }, (_, n) => client.set(`scan:${n}`, String(n))));
      await client.hSet("hash", Object.fromEntries(Array.from({ length: 1500 }, (_, n) => [`f${n}`, String(n)])));
      const keys = new Set();
      for await (const some of client.scanIterator({ MATCH: "scan:*", COUNT: 50 })) some.forEach((key) => keys.add(key));
      assert.equal(keys.size, 2000);
      const fields = new Set();
      for await (const some of client.hScanIterator("hash")) some.forEach(({ field }) => fields.add(field));
      assert.equal(fields.size, 1500);
      client.destroy();
    },

    async [`messages ${RESP}`]() {
      const client = await fresh({ RESP });
      const subscriber = await open({ RESP });
      const heard = [];
      await subscriber.subscribe("news", (message, channel) => heard.push([channel, message]));
      await subscriber.pSubscribe("n*", (message, channel) => heard.push(["n*", channel, message]));
      await subscriber.sSubscribe("shard", (message, channel) => heard.push([channel, message]));
      assert.equal(await client.publish("news", "one"), 2);
      assert.equal(await client.sPublish("shard", "two"), 1);
      await until(() => heard.length === 3, "three messages");
      assert.deepEqual(heard, [["news", "one"], ["n*", "news", "one"], ["shard", "two"]]);
      // With RESP3 it may do other things beside; with RESP2 not.
      if (RESP === 3) assert.equal(await subscriber.get("none"), null);
      await client.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
      await until(async () => (await client.pubSubNumSub("news")).news === 1 && (await client.pubSubNumPat()) === 1, "subscribed again");
      await client.publish("news", "three");
      await until(() => heard.length === 5, "five messages");
      subscriber.destroy();
      client.destroy();
    },

    async [`streams ${RESP}`]() {
      const client = await fresh({ RESP });
      const waiting = await open({ RESP });
      await client.xGroupCreate("stream", "group", "$", { MKSTREAM: true });
      const read = waiting.xReadGroup("group", "me", { key: "stream", id: ">" }, { BLOCK: 20000 });
      const id = await client.xAdd("stream", "*", { field: "value" });
      assert.match(JSON.stringify(await read), new RegExp(`"${id}".*"field":"value"`));
      assert.equal((await client.xPending("stream", "group")).pending, 1);
      assert.equal(await client.xAck("stream", "group", id), 1);
      assert.equal((await client.xInfoStream("stream")).length, 1);
      client.destroy();
      waiting.destroy();
    },

    async [`scripts ${RESP}`]() {
      const client = await fresh({
        RESP,
        scripts: {
          double: defineScript({
            NUMBER_OF_KEYS: 1,
            SCRIPT: "return redis.call('INCRBY', KEYS[1], redis.call('GET', KEYS[1]))",
            parseCommand: (parser, key) => parser.pushKey(key),
            transformReply: (reply) => reply,
          }),
        },
      });
      await client.set("n", "21");
      assert.equal(await client.double("n"), 42);
      await client.scriptFlush();
      assert.equal(await client.double("n"), 84);
      client.destroy();
    },
  });
}

main({
  ...cases,

  async pools() {
    const pool = await createClientPool({ socket: { port, host: "127.0.0.1" } }, { minimum: 2, maximum: 10 }).connect();
    await pool.del("n");
    await Promise.all(Array.from({ length: 500 }, () => pool.incr("n")));
    assert.equal(await pool.get("n"), "500");
    // Optimistic locking with a connection of its own each.
    const add = async () => {
      for (;;) {
        try {
          return await pool.execute(async (client) => {
            await client.watch("n");
            const next = Number(await client.get("n")) + 1;
            return client.multi().set("n", String(next)).exec();
          });
        } catch (error) {
          if (!(error instanceof WatchError)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 50 }, add));
    assert.equal(await pool.get("n"), "550");
    pool.destroy();
  },

  async lost_connections() {
    const client = await fresh();
    const other = await open();
    const id = await client.clientId();
    await other.sendCommand(["CLIENT", "KILL", "ID", String(id)]);
    // It may hear of the end only when it asks.
    await until(async () => client.isReady && (await client.clientId().catch(() => id)) !== id, "another connection");
    assert.equal(await client.set("key", "value"), "OK");
    client.destroy();
    other.destroy();
  },
});
