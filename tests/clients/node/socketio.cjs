// Socket.IO: servers that know of each other's clients through the Redis adapters, the one with one channel for all and the sharded one.
"use strict";

const assert = require("node:assert/strict");
const { createServer } = require("node:http");
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const { Redis } = require("ioredis");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");
const { port, until, main } = require("./common.cjs");

const openers = {
  ioredis: async () => new Redis({ port, host: "127.0.0.1", retryStrategy: () => 10 }),
  redis: async () => {
    const client = createClient({ socket: { port, host: "127.0.0.1", reconnectStrategy: 10 } });
    client.on("error", () => {});
    return client.connect();
  },
};

async function serve(adapter, open) {
  const http = createServer();
  const server = new Server(http, { adapter: adapter(await open(), await open()), transports: ["websocket"] });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("say", (room, words) => server.to(room).emit("said", words));
    socket.on("ask", (question, done) => done(`${question}!`));
  });
  return { server, url: `http://127.0.0.1:${http.address().port}` };
}

async function visit({ url }) {
  const socket = io(url, { transports: ["websocket"] });
  const heard = [];
  socket.on("said", (words) => heard.push(words));
  socket.on("question", (words, done) => done(`answer to ${words}`));
  await new Promise((resolve) => socket.once("connect", resolve));
  return { socket, heard, join: (room) => new Promise((done) => socket.emit("join", room, done)) };
}

const cases = {};
for (const [adapterName, adapter] of Object.entries({ channel: createAdapter, sharded: createShardedAdapter })) {
  for (const [clientName, open] of Object.entries(openers)) {
    cases[`${adapterName} ${clientName}`] = async () => {
      const servers = [await serve(adapter, open), await serve(adapter, open), await serve(adapter, open)];
      const [one, other, third] = await Promise.all(servers.map(visit));
      await one.join("room");
      await third.join("room");
      const redis = new Redis({ port, host: "127.0.0.1" });
      await until(async () => (await servers[1].server.in("room").fetchSockets()).length === 2, "both are known in the room");
      // Between the servers, to those in the room only, in order.
      for (let n = 0; n < 200; n++) other.socket.emit("say", "room", { n, bytes: Buffer.from([n, 0, 255]) });
      await until(() => one.heard.length === 200 && third.heard.length === 200, "200 messages for both");
      assert.deepEqual(one.heard.map(({ n }) => n), Array.from({ length: 200 }, (_, n) => n));
      assert.deepEqual([...third.heard[7].bytes], [7, 0, 255]);
      assert.equal(other.heard.length, 0);
      // Asking every client of every server, and gathering the answers.
      assert.deepEqual(await servers[2].server.timeout(20000).emitWithAck("question", "x"), Array(3).fill("answer to x"));
      assert.deepEqual((await servers[0].server.fetchSockets()).length, 3);
      // Servers talk to each other as well.
      servers[1].server.on("sum", (a, b, done) => done(a + b));
      servers[2].server.on("sum", (a, b, done) => done(a + b));
      assert.deepEqual(await servers[0].server.serverSideEmitWithAck("sum", 1, 2), [3, 3]);
      // Their connections are cut; they come back by themselves, and nothing has to be joined again.
      const subscribers = async () => {
        const kind = adapterName === "sharded" ? "SHARDNUMSUB" : "NUMSUB";
        const channels = await redis.pubsub(adapterName === "sharded" ? "SHARDCHANNELS" : "CHANNELS");
        const numbers = channels.length ? await redis.pubsub(kind, ...channels) : [];
        // In no order of its own.
        const pairs = channels.map((_, index) => `${numbers[2 * index]}: ${numbers[2 * index + 1]}`).sort();
        return `${pairs} and ${await redis.pubsub("NUMPAT")} patterns`;
      };
      const before = await subscribers();
      await redis.client("KILL", "TYPE", "pubsub");
      await until(async () => (await subscribers()) === before, "subscribed again");
      other.socket.emit("say", "room", { n: "again" });
      await until(() => one.heard.length === 201 && third.heard.length === 201, "a message after the cut");
      servers[0].server.in("room").socketsLeave("room");
      await until(async () => (await servers[2].server.in("room").fetchSockets()).length === 0, "the room is empty");
      servers[0].server.disconnectSockets(true);
      await until(() => [one, other, third].every(({ socket }) => !socket.connected), "everybody has been sent away");
      for (const { socket } of [one, other, third]) socket.close();
      for (const { server } of servers) server.close();
      redis.disconnect();
    };
  }
}

main(cases);
