// Redlock over three servers (REDIS_PORTS): one holder at a time, also when one of the servers is gone. It ends the third.
"use strict";

const assert = require("node:assert/strict");
const { Redis } = require("ioredis");
const Redlock = require("redlock");
const { until, main } = require("./common.cjs");

const ports = process.env.REDIS_PORTS.split(",").map(Number);
// Nothing is kept for later: a server that is not there refuses at once.
const connect = async () => {
  const clients = ports.map((port) => new Redis({ port, host: "127.0.0.1", retryStrategy: () => 20, enableOfflineQueue: false }));
  clients.forEach((client) => client.on("error", () => {}));
  await until(() => clients.every(({ status }) => status === "ready"), "three connections");
  return clients;
};
const locker = (clients, options) => {
  const lock = new Redlock(clients, { retryCount: 2000, retryDelay: 5, retryJitter: 5, driftFactor: 0.01, ...options });
  lock.on("clientError", () => {});
  return lock;
};

// Many contenders add one to a number that is read and written with a pause between: each increment is there only if nobody came between.
async function contend(clients, rounds) {
  const value = new Redis({ port: ports[0], host: "127.0.0.1" });
  await value.set("number", 0);
  const lockers = Array.from({ length: 4 }, () => locker(clients));
  await Promise.all(lockers.map(async (redlock) => {
    for (let round = 0; round < rounds; round++) {
      const lock = await redlock.lock("resource", 30000);
      const read = Number(await value.get("number"));
      await new Promise(setImmediate);
      await value.set("number", read + 1);
      await lock.unlock();
    }
  }));
  assert.equal(Number(await value.get("number")), 4 * rounds);
  value.disconnect();
}

main({
  async one_holder() {
    const clients = await connect();
    const [one, other] = [locker(clients), locker(clients, { retryCount: 0 })];
    let lock = await one.lock("resource", 30000);
    await assert.rejects(other.lock("resource", 30000), { name: "LockError" });
    lock = await lock.extend(60000);
    assert.ok((await clients[0].pttl("resource")) > 30000);
    await lock.unlock();
    await assert.rejects(lock.unlock(), { name: "LockError" });
    // Several resources at once, and a lock that ends by itself.
    await other.lock(["a", "b"], 2000);
    await assert.rejects(other.lock("b", 30000), { name: "LockError" });
    await (await one.lock("b", 30000)).unlock();
    await until(async () => (await Promise.all(clients.map((client) => client.dbsize()))).every((size) => size === 0), "three empty servers");
    clients.forEach((client) => client.disconnect());
  },

  async contention() {
    const clients = await connect();
    await contend(clients, 25);
    clients.forEach((client) => client.disconnect());
  },

  async contention_with_a_server_that_is_gone() {
    const clients = await connect();
    await clients[2].shutdown("NOSAVE").catch(() => {});
    await until(() => clients[2].status !== "ready", "the third server's end");
    // Two of three are a majority.
    await contend(clients, 25);
  },
});
