// Lists of classes as other programs write them.

import assert from "node:assert/strict";
import test from "node:test";
import { namesIn } from "../../pkg/labels.js";

for (const [what, text] of [
  ["a dict of Python's", "{0: 'cat',\n 1: \"dog's dinner\",\n 2: 'bird'}"],
  ["a list of Python's", "['cat', \"dog's dinner\", 'bird']"],
  ["a list with escapes", "['cat', 'dog\\'s dinner', 'bird',]"],
  ["torchvision's class_to_idx", "{'bird': 2, 'cat': 0, \"dog's dinner\": 1}"],
  ["torchvision's class index", '{"0": ["n1", "cat"], "1": ["n2", "dog\'s dinner"], "2": ["n3", "bird"]}'],
  ["a dict from 1 on", '{"2": "dog\'s dinner", "1": "cat", "3": "bird"}'],
  ["Teachable Machine's list", "0 cat\n1 dog's dinner\n2 bird\n"],
  ["a table with a head", "id,name\n0,cat\n1,dog's dinner\n2,bird"],
  ["numbers from 1 on", "1: cat\n2: dog's dinner\n3: bird"],
  ["darknet's list", "cat\r\ndog's dinner\r\nbird\r\n"],
  ["a list with a byte order mark", "\ufeffcat\ndog's dinner\nbird"],
  ["Ultralytics' data set", "nc: 3\nnames:\n  0: cat\n  1: dog's dinner\n  2: bird\ntest: x\n"],
  ["a data set's list", 'names:\n- cat\n- "dog\'s dinner"\n- bird\nnc: 3\n'],
  ["a data set's list in a line", "names: ['cat', \"dog's dinner\", 'bird']\nnc: 3\n"],
  ["a data set's dict in a line", "nc: 3\nnames: {0: cat, 1: dog's dinner, 2: bird}\n"],
  ["WordNet's list", "n00000001 cat, feline\nn00000002 dog's dinner\nn00000003 bird"],
  ["an object that names them", '{"classes": ["cat", "dog\'s dinner", "bird"]}'],
  ["Hugging Face's other way round", '{"label2id": {"bird": 2, "cat": 0, "dog\'s dinner": 1}}'],
])
  test(`${what} is read`, () => {
    assert.deepEqual(namesIn(text), ["cat", "dog's dinner", "bird"]);
  });

test("names that are numbers, or begin with some, stay", () => {
  assert.deepEqual(namesIn("0\n1\n2"), ["0", "1", "2"]);
  assert.deepEqual(namesIn("1999 red\n2005 white"), ["1999 red", "2005 white"]);
  assert.deepEqual(namesIn("0 red\n2 white"), ["0 red", "2 white"]);
  assert.deepEqual(namesIn('{"0": 0, "1": 1}'), ["0", "1"]);
});

test("lists and objects of something else have no names", () => {
  for (const text of [
    '{"epochs": 3}',
    '{"eval_accuracy": 0.9}',
    '{"0": "a", "2": "b"}',
    '{"0": {"name": "a"}}',
    '[{"id": 0, "name": "a"}]',
    '["a", "b"',
    "{}",
    `{"a": ${"[".repeat(1e5)}${"]".repeat(1e5)}}`,
    `${'{"names":'.repeat(1e5)}1${"}".repeat(1e5)}`,
  ])
    assert.equal(namesIn(text), undefined, text.slice(0, 40));
});
