// Rate limiters with Lua: rate-limiter-flexible, and express-rate-limit with rate-limit-redis behind a web application.
"use strict";

const assert = require("node:assert/strict");
const express = require("express");
const { rateLimit } = require("express-rate-limit");
const { Redis } = require("ioredis");
const { RedisStore } = require("rate-limit-redis");
const { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis } = require("rate-limiter-flexible");
const { createClient } = require("redis");
const { port, until, main } = require("./common.cjs");

const open = {
  ioredis: async () => new Redis({ port, host: "127.0.0.1", enableOfflineQueue: true }),
  redis: async () => {
    const client = createClient({ socket: { port, host: "127.0.0.1" } });
    return client.connect();
  },
};

const settled = async (promises) => (await Promise.allSettled(promises)).map(({ status }) => status === "fulfilled");
const allowed = (results) => results.filter(Boolean).length;

const cases = {};
for (const [name, connect] of Object.entries(open)) {
  cases[`rate-limiter-flexible with ${name}`] = async () => {
    const admin = await open.ioredis();
    await admin.flushall();
    const storeClient = await connect();
    const options = { storeClient, useRedisPackage: name === "redis", keyPrefix: name, points: 10, duration: 60 };
    const limiters = [new RateLimiterRedis(options), new RateLimiterRedis({ ...options, storeClient: await connect() })];
    // Two instances, one budget: exactly ten of fifty.
    assert.equal(allowed(await settled(Array.from({ length: 50 }, (_, n) => limiters[n % 2].consume("user")))), 10);
    const refused = await limiters[0].consume("user").catch((error) => error);
    assert.equal(refused.remainingPoints, 0);
    assert.ok(refused.msBeforeNext > 30000 && refused.msBeforeNext <= 60000, refused.msBeforeNext);
    assert.equal((await limiters[1].get("user")).consumedPoints, 51);
    await limiters[0].reward("user", 45);
    assert.equal((await limiters[1].consume("user", 2)).remainingPoints, 2);
    await limiters[1].penalty("user", 5);
    assert.deepEqual(await settled([limiters[0].consume("user")]), [false]);
    assert.equal(await limiters[0].delete("user"), true);
    assert.equal(await limiters[0].get("user"), null);
    await limiters[0].block("villain", 100);
    assert.deepEqual(await settled([limiters[1].consume("villain"), limiters[1].consume("somebody")]), [false, true]);
    // A window ends.
    const quick = new RateLimiterRedis({ ...options, keyPrefix: "quick", points: 1, duration: 1 });
    await until(() => quick.consume("user").then(() => true, () => false), "the first one");
    await until(() => quick.consume("user").then(() => true, () => false), "one in the next window");
    // Bursts, and waiting instead of refusing.
    const bursty = new BurstyRateLimiter(
      new RateLimiterRedis({ ...options, keyPrefix: "steady", points: 2 }), new RateLimiterRedis({ ...options, keyPrefix: "burst", points: 5 }));
    assert.equal(allowed(await settled(Array.from({ length: 20 }, () => bursty.consume("user")))), 7);
    const queue = new RateLimiterQueue(new RateLimiterRedis({ ...options, keyPrefix: "queue", points: 8, duration: 1 }));
    assert.equal((await Promise.all(Array.from({ length: 12 }, () => queue.removeTokens(1)))).length, 12);
    // The scripts are said again when the server has forgotten them.
    await admin.script("FLUSH");
    assert.equal((await limiters[0].consume("afterwards")).remainingPoints, 9);
    admin.disconnect();
  };

  cases[`express-rate-limit with ${name}`] = async () => {
    const admin = await open.ioredis();
    await admin.flushall();
    const serve = async (options) => {
      const client = await connect();
      const sendCommand = name === "redis" ? (...words) => client.sendCommand(words) : (word, ...words) => client.call(word, ...words);
      const application = express();
      const limiter = rateLimit({
        windowMs: 60000, limit: 5, standardHeaders: "draft-8", legacyHeaders: true, keyGenerator: (request) => request.get("user") ?? "nobody",
        store: new RedisStore({ sendCommand }), ...options,
      });
      application.use(limiter);
      application.get("/", (_, response) => response.send("hello"));
      application.get("/forgive/:user", async (request, response) => {
        await limiter.resetKey(request.params.user);
        response.send("forgiven");
      });
      return new Promise((resolve) => {
        const server = application.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
      });
    };
    const urls = [await serve(), await serve()];
    const get = (n, user, path = "/") => fetch(urls[n % 2] + path, { headers: { user } });
    // Two servers, one budget.
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => get(n, "visitor")));
    assert.equal(answers.filter(({ status }) => status === 200).length, 5);
    assert.equal(answers.filter(({ status }) => status === 429).length, 15);
    const refused = await get(0, "visitor");
    assert.ok(Number(refused.headers.get("retry-after")) > 30);
    assert.equal(refused.headers.get("x-ratelimit-remaining"), "0");
    assert.equal((await get(1, "somebody")).headers.get("x-ratelimit-remaining"), "4");
    assert.equal((await get(0, "admin", "/forgive/visitor")).status, 200);
    assert.equal((await get(1, "visitor")).status, 200);
    // Requests that went well do not count; scripts that the server has forgotten are said again.
    const lenient = await serve({ skipSuccessfulRequests: true, limit: 2, keyGenerator: () => "lenient" });
    for (let n = 0; n < 6; n++) {
      assert.equal((await fetch(lenient)).status, 200);
      await until(async () => Number(await admin.get("rl:lenient")) === 0, "the request is taken off again");
    }
    await admin.script("FLUSH");
    assert.equal((await fetch(lenient)).status, 200);
    admin.disconnect();
  };
}

main(cases);
