/** Tests of the reader of test results, on a report as Bun writes it. */
import { expect, test } from "bun:test";

import { readJunit } from "./junit.ts";

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="5" failures="2" skipped="2" time="0.5">
  <testsuite name="t/a.test.ts" file="t/a.test.ts" tests="4">
    <testsuite name="outer &lt;x&gt;" file="t/a.test.ts" line="3">
      <testsuite name="inner" file="t/a.test.ts" line="4">
        <testcase name="todo" classname="inner &gt; outer &lt;x&gt;" time="0">
          <skipped message="TODO" />
        </testcase>
        <testcase name="ok &amp; &quot;fine&quot;" classname="x" time="0" assertions="1" />
        <testcase name="missing" time="0">
          <skipped />
        </testcase>
      </testsuite>
      <testcase name="fails" time="0.001">
        <failure type="AssertionError" message="a &lt;b&gt;&#10;c">AssertionError: x&#10;</failure>
      </testcase>
    </testsuite>
  </testsuite>
  <testsuite name="t/c.test.ts" file="t/c.test.ts">
    <testcase name="never" classname="" time="0.5">
      <failure type="TimeoutError" message="test timed out" />
    </testcase>
    <testcase name="a&#10;b" classname="" />
  </testsuite>
</testsuites>`;

test("reads every test with its file, its path and its outcome", () => {
  expect(readJunit(report)).toEqual([
    { file: "t/a.test.ts", name: "outer <x> > inner > todo", outcome: "skipped" },
    { file: "t/a.test.ts", name: 'outer <x> > inner > ok & "fine"', outcome: "passed" },
    { file: "t/a.test.ts", name: "outer <x> > inner > missing", outcome: "skipped" },
    { file: "t/a.test.ts", name: "outer <x> > fails", outcome: "failed" },
    { file: "t/c.test.ts", name: "never", outcome: "failed" },
    { file: "t/c.test.ts", name: "a\nb", outcome: "passed" },
  ]);
});

test("finds no test in an empty report", () => {
  expect(readJunit('<?xml version="1.0"?><testsuites name="bun test" tests="0"/>')).toEqual([]);
});
