// BullMQ: a worker to be killed (`bullmq.cjs work`), a producer (`produce COUNT`), what is left at the end (`finished COUNT`), and its other
// features (`features`). Its scripts read and pack with cjson and cmsgpack.
"use strict";

const assert = require("node:assert/strict");
const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require("bullmq");
const { Redis } = require("ioredis");
const { port, until, main } = require("./common.cjs");

const connection = { port, host: "127.0.0.1", maxRetriesPerRequest: null };
// A killed worker's jobs are given to others after this, not after BullMQ's half minute.
const impatient = { lockDuration: 500, stalledInterval: 200, maxStalledCount: 1000 };
const [role, count] = [process.argv[2], Number(process.argv[3])];

async function work() {
  const records = new Redis(connection);
  new Worker("tasks", async (job) => {
    await records.hincrby("begun", job.data.number, 1);
    // Long enough that killing meets somebody at work.
    await new Promise((resolve) => setTimeout(resolve, 5));
    await records.hset("done", job.data.number, job.data.number ** 2);
    return { square: job.data.number ** 2 };
  }, { connection, concurrency: 4, ...impatient });
}

const collect = async (seen, worker, wanted) => {
  await until(() => seen.length === wanted, `${wanted} jobs done`);
  await worker.close();
  return seen;
};

const features = {
  async delays_and_priorities() {
    const queue = new Queue("ordered", { connection });
    await queue.addBulk([
      { name: "later", data: {}, opts: { delay: 2000 } },
      { name: "low", data: {}, opts: { priority: 10 } },
      { name: "high", data: {}, opts: { priority: 1 } },
      { name: "plain", data: {} },
      { name: "last in", data: {}, opts: { lifo: true } },
    ]);
    assert.deepEqual(await queue.getJobCounts("waiting", "prioritized", "delayed"), { waiting: 2, prioritized: 2, delayed: 1 });
    const seen = [];
    const worker = new Worker("ordered", async (job) => seen.push(job.name), { connection });
    assert.deepEqual(await collect(seen, worker, 5), ["last in", "plain", "high", "low", "later"]);
    await queue.close();
  },

  async retries_and_failures() {
    const queue = new Queue("failing", { connection });
    const events = new QueueEvents("failing", { connection });
    await events.waitUntilReady();
    const worker = new Worker("failing", async (job) => {
      if (job.name === "hopeless") throw new UnrecoverableError("no use");
      if (job.attemptsMade < 2) throw new Error("not yet");
      await job.updateProgress({ percent: 100 });
      await job.log("a line");
      return { unicode: "é中😀", list: [1, null, { nested: true }] };
    }, { connection });
    const options = { attempts: 3, backoff: { type: "exponential", delay: 10 } };
    const [patient, hopeless] = [await queue.add("patient", { deep: { a: [1, 2] } }, options), await queue.add("hopeless", {}, options)];
    assert.deepEqual(await patient.waitUntilFinished(events, 20000), { unicode: "é中😀", list: [1, null, { nested: true }] });
    await assert.rejects(hopeless.waitUntilFinished(events, 20000), /no use/);
    const stored = await queue.getJob(patient.id);
    assert.deepEqual([stored.data, stored.progress, stored.attemptsMade], [{ deep: { a: [1, 2] } }, { percent: 100 }, 3]);
    assert.deepEqual((await queue.getJobLogs(patient.id)).logs, ["a line"]);
    assert.equal((await queue.getFailed())[0].failedReason, "no use");
    await (await queue.getJob(hopeless.id)).remove();
    assert.deepEqual(await queue.getJobCounts("completed", "failed"), { completed: 1, failed: 0 });
    await worker.close();
    await events.close();
    await queue.close();
  },

  async flows() {
    const flow = new FlowProducer({ connection });
    const seen = [];
    const worker = new Worker("flow", async (job) => {
      if (job.name === "sum") {
        seen.push(Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0));
        return seen[0];
      }
      return job.data.number;
    }, { connection, concurrency: 3 });
    const children = [1, 2, 3, 4].map((number) => ({ name: "part", queueName: "flow", data: { number } }));
    const { job } = await flow.add({ name: "sum", queueName: "flow", children });
    await until(async () => (await job.getState()) === "completed", "the parent's end");
    assert.deepEqual(seen, [10]);
    await worker.close();
    await flow.close();
  },

  async schedules_and_duplicates() {
    const queue = new Queue("scheduled", { connection });
    await queue.upsertJobScheduler("every", { every: 50 }, { name: "tick", data: {} });
    await queue.add("once", {}, { jobId: "same" });
    await queue.add("once", {}, { jobId: "same" });
    await queue.add("debounced", {}, { deduplication: { id: "d", ttl: 60000 } });
    await queue.add("debounced", {}, { deduplication: { id: "d", ttl: 60000 } });
    const seen = [];
    const worker = new Worker("scheduled", async (job) => seen.push(job.name), { connection });
    await until(() => seen.filter((name) => name === "tick").length >= 3, "three ticks");
    assert.equal(seen.filter((name) => name === "once").length, 1);
    assert.equal(seen.filter((name) => name === "debounced").length, 1);
    assert.equal(await queue.removeJobScheduler("every"), true);
    await worker.close();
    await queue.close();
  },

  async limits_pauses_and_cleaning() {
    const queue = new Queue("limited", { connection });
    await queue.addBulk(Array.from({ length: 30 }, (_, n) => ({ name: `job ${n}`, data: { n } })));
    await queue.pause();
    const seen = [];
    const begun = Date.now();
    const worker = new Worker("limited", async (job) => seen.push(Date.now()), { connection, limiter: { max: 10, duration: 300 } });
    assert.equal(await queue.isPaused(), true);
    assert.equal(seen.length, 0);
    await queue.resume();
    await collect(seen, worker, 30);
    // 10 at once, then two waits of 300 ms: no sooner, however late.
    assert.ok(seen.at(-1) - begun >= 500, `${seen.at(-1) - begun} ms`);
    assert.equal((await queue.clean(0, 1000, "completed")).length, 30);
    await queue.drain();
    await queue.obliterate({ force: true });
    const redis = new Redis(connection);
    // The limiter's own key ends by itself.
    await until(async () => (await redis.keys("bull:limited:*")).length === 0, "nothing of the queue is left");
    redis.disconnect();
    await queue.close();
  },
};

if (role === "work") {
  work();
} else if (role === "produce") {
  main({
    async produce() {
      const queue = new Queue("tasks", { connection });
      await queue.addBulk(Array.from({ length: count }, (_, number) => ({ name: "square", data: { number } })));
      await queue.close();
    },
  });
} else if (role === "finished") {
  main({
    async finished() {
      const queue = new Queue("tasks", { connection });
      // The last one's record is written before its job is completed.
      await until(async () => (await queue.getCompletedCount()) === count, `${count} completed jobs`);
      assert.deepEqual(await queue.getJobCounts("waiting", "active", "failed", "delayed"), { waiting: 0, active: 0, failed: 0, delayed: 0 });
      for (const job of await queue.getCompleted(0, count)) assert.equal(job.returnvalue.square, job.data.number ** 2);
    },
  });
} else {
  main(features);
}
