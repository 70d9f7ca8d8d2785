const SUMS = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/**
 * Reports each test on a line, and in the end how many passed, failed and were skipped, for `cargo xtask test`.
 *
 * @param {AsyncIterable<{ type: string, data: any }>} events of node:test
 */
export default async function* report(events) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    if (type === "test:stderr" || type === "test:stdout") yield data.message;
    // Figures that a test tells; node:test tells its sums in the same way.
    if (type === "test:diagnostic" && !SUMS.test(data.message)) yield `  ${data.message}\n`;
    if (type !== "test:pass" && type !== "test:fail") continue;
    const { name, skip, todo, details } = data;
    // Suites are no tests, and what holds tests fails along with them: its own fault alone counts.
    if (details.error?.failureType === "subtestsFailed" || (type === "test:pass" && details.type === "suite")) continue;
    if (type === "test:fail" && todo === undefined) {
      count.failed++;
      yield `FAILED ${name}\n${indent(describe(details.error))}\n`;
    } else if (skip !== undefined) {
      // Older versions of Node also report the tests that a filter left out.
      if (skip === "test name does not match pattern") continue;
      count.skipped++;
      yield `skipped ${name}${typeof skip === "string" && skip ? `: ${skip}` : ""}\n`;
    } else {
      count.passed++;
      yield `ok ${name} (${Math.round(details.duration_ms)} ms)\n`;
    }
  }
  yield `count ${count.passed} ${count.failed} ${count.skipped}\n`;
}

/** node:test wraps what the test threw. */
function describe(error) {
  const cause = error?.cause ?? error;
  return cause?.stack ?? String(cause?.message ?? cause);
}

function indent(text) {
  return text.replace(/^/gm, "    ");
}
