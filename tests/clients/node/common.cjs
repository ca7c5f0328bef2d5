// What the scripts share: where the server is, waiting for conditions, and an end that says whether all was well.
"use strict";

const port = Number(process.env.REDIS_PORT);

// Polls; a test never just sleeps.
async function until(condition, what, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Runs one case after the other. Whatever a case leaves open ends with the process.
async function main(cases) {
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
    } catch (error) {
      console.error(`${name}:`, error);
      process.exit(1);
    }
  }
  console.log(`${Object.keys(cases).length} cases`);
  process.exit(0);
}

module.exports = { port, until, main };
