// The networks that are compared, and where their files are. As a program it prints `NAME FILE` for each of those asked for.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../tests/web/site.js";
import { resnet18 } from "./resnet18.js";

/** What a run makes for itself: a network, and sizes that take long to compute. */
export const MADE = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "bench");

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const EVEN = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/** Each with its folder below `/.test/` of the server. */
const NETWORKS = {
  everyday: { folder: "models/everyday", file: "everyday.onnx", preprocess: IMAGENET },
  squeezenet: { folder: "shared/models", file: "squeezenet1_1_torchvision_fp16w.onnx", preprocess: IMAGENET },
  mobilenetv2: { folder: "shared/models", file: "mobilenet_v2_1.0_224_w8.onnx", preprocess: EVEN },
  "mobilenet0.25": { folder: "shared/models", file: "mobilenet_v1_0.25_224.onnx", preprocess: EVEN },
  resnet18: { folder: "made", make: resnet18, preprocess: IMAGENET },
  resnet20: { folder: "shared/models", file: "resnet20_cifar10.onnx", preprocess: IMAGENET },
};

/**
 * @param {string | undefined} names separated by commas; all if undefined
 * @returns {{ name: string, file: string, address: string, preprocess: { mean: number[], std: number[] } }[]} those whose
 *   files are there
 */
export function networksNamed(names) {
  return (names?.split(",") ?? Object.keys(NETWORKS)).flatMap((name) => {
    const network = NETWORKS[name];
    if (!network) throw new Error(`There is no network ${name}; there are ${Object.keys(NETWORKS).join(", ")}.`);
    const { folder, make, preprocess } = network;
    const file = make ? made(name, make) : network.file;
    const path = join(
      {
        made: MADE,
        "shared/models": join(ROOT, "../shared/models"),
        "models/everyday": join(ROOT, "www/models/everyday"),
      }[folder],
      file,
    );
    if (!existsSync(path)) {
      process.stderr.write(`skipped: ${name} needs ../${folder}\n`);
      return [];
    }
    return [{ name, file: path, address: `${folder}/${file}`, preprocess }];
  });
}

/** A network that is written for the comparison, under a name that changes with its maker. */
function made(name, make) {
  const version = createHash("sha256").update(String(make)).digest("hex").slice(0, 8);
  const file = `${name}-${version}.onnx`;
  mkdirSync(MADE, { recursive: true });
  if (!existsSync(join(MADE, file))) writeFileSync(join(MADE, file), make());
  return file;
}

if (import.meta.filename === process.argv[1]) {
  for (const { name, file } of networksNamed(process.argv[2])) console.log(`${name} ${file}`);
}
