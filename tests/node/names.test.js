// Lists of classes as other programs write them, read by the page.

import assert from "node:assert/strict";
import test from "node:test";
import { read } from "../../www/own.js";

const namesIn = async (name, text, strict) => (await read(new File([text], name), strict)).labels;

for (const [what, name, text] of [
  ["a dict of Python's", "imagenet1000_clsidx_to_labels.txt", "{0: 'cat',\n 1: \"dog's dinner\",\n 2: 'bird'}"],
  ["Teachable Machine's list", "labels.txt", "0 cat\n1 dog's dinner\n2 bird\n"],
  ["a table with a head", "classes.csv", "id,name\n0,cat\n1,dog's dinner\n2,bird"],
  ["numbers from 1 on", "classes.txt", "1: cat\n2: dog's dinner\n3: bird"],
  ["darknet's list", "obj.names", "cat\r\ndog's dinner\r\nbird\r\n"],
  ["a list with a byte order mark", "labels.txt", "\ufeffcat\ndog's dinner\nbird"],
  ["Ultralytics' data set", "data.yaml", "nc: 3\nnames:\n  0: cat\n  1: dog's dinner\n  2: bird\ntest: x\n"],
  ["a data set's list", "data.yaml", 'names:\n- cat\n- "dog\'s dinner"\n- bird\nnc: 3\n'],
  ["WordNet's list", "synset.txt", "n00000001 cat, feline\nn00000002 dog's dinner\nn00000003 bird"],
  ["an object that names them", "info.json", '{"classes": ["cat", "dog\'s dinner", "bird"]}'],
  ["Hugging Face's other way round", "config.json", '{"label2id": {"bird": 2, "cat": 0, "dog\'s dinner": 1}}'],
])
  test(`${what} is read`, async () => {
    assert.deepEqual(await namesIn(name, text), ["cat", "dog's dinner", "bird"]);
  });

test("names that are numbers, or begin with some, stay", async () => {
  assert.deepEqual(await namesIn("digits.txt", "0\n1\n2"), ["0", "1", "2"]);
  assert.deepEqual(await namesIn("wines.txt", "1999 red\n2005 white"), ["1999 red", "2005 white"]);
  assert.deepEqual(await namesIn("gaps.txt", "0 red\n2 white"), ["0 red", "2 white"]);
});

test("what else lies beside a network is no list of names", async () => {
  for (const [name, text] of [
    ["requirements.txt", "torch\nonnx"],
    ["results.csv", "epoch,loss\n1,0.5\n2,0.4"],
    ["args.yaml", "task: classify"],
    ["training_args.json", '{"epochs": 3}'],
    ["all_results.json", '{"eval_accuracy": 0.9}'],
  ])
    assert.equal(await namesIn(name, text, true).catch((error) => error.message), undefined, name);
  await assert.rejects(namesIn("args.yaml", "task: classify", false), /names:/);
});
