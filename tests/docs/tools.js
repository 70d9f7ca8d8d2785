// Programs that build documentation: found, or installed below the target folder with the usual package managers.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "../web/site.js";

/** Where generators are installed and sites are built. */
export const WORK = join(process.env.GRADCAM_TARGET ?? join(ROOT, "target"), "docs-test");

/** A reason to leave a set-up out, which is named and counted as skipped. */
export class Missing extends Error {}

/**
 * Runs a program to its end. @param {string[]} command @param {{ cwd?: string, env?: object }} [options]
 * @throws with the last of what it printed
 */
export function run(command, { cwd = WORK, env = {} } = {}) {
  mkdirSync(cwd, { recursive: true });
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    const hear = (text) => (said = (said + text).slice(-4000));
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(said) : reject(new Error(`\`${command.join(" ")}\` ended with ${code}:\n${said}`)),
    );
  });
}

/** A program on the path. @throws {Missing} */
export function program(name, hint) {
  const found = process.env.PATH.split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
  if (!found) throw new Missing(`needs ${name}${hint ? ` (${hint})` : ""}`);
  return found;
}

const once = new Map();

/** A Python environment with these packages; returns the folder of its programs. @throws {Missing} */
export function python(name, packages) {
  return remembered(`python ${name}`, async () => {
    const python = program("python3");
    const folder = join(WORK, "python", name);
    const bin = join(folder, "bin");
    await installed(folder, packages, async () => {
      await run([python, "-m", "venv", folder]);
      await run([join(bin, "pip"), "install", "--quiet", "--disable-pip-version-check", ...packages]);
    });
    return bin;
  });
}

/** A folder with these packages of npm. @throws {Missing} */
export function npm(name, packages) {
  return remembered(`npm ${name}`, async () => {
    const folder = join(WORK, "npm", name);
    await installed(folder, packages, async () => {
      writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
      await run([program("npm"), "install", "--no-audit", "--no-fund", ...packages], { cwd: folder });
    });
    return folder;
  });
}

/** A program from crates.io, compiled here. @throws {Missing} */
export function crate(name, version) {
  return remembered(`crate ${name}`, async () => {
    const folder = join(WORK, "crates", name);
    const source = `${name}@${version}`;
    await installed(folder, [source], () =>
      run([program("cargo"), "install", "--quiet", "--locked", "--root", folder, source]),
    );
    return join(folder, "bin", name);
  });
}

/** One of Debian's packages, where that is what this machine has and may install. @throws {Missing} */
export function debian(name) {
  return remembered(`debian ${name}`, async () => {
    try {
      return program(name);
    } catch {
      if (process.getuid?.() !== 0) throw new Missing(`needs ${name} (Debian: ${name})`);
    }
    await run([program("apt-get", `Debian: ${name}`), "install", "--yes", "--quiet", "--no-install-recommends", name], {
      env: { DEBIAN_FRONTEND: "noninteractive" },
    }).catch((error) => {
      throw new Missing(`needs ${name}: ${error.message.split("\n").at(-2)}`);
    });
    return program(name);
  });
}

/** Does what is to be done once, and says why it can't be. */
function remembered(key, task) {
  if (!once.has(key)) once.set(key, task());
  return once.get(key);
}

/** Installs unless the very same was installed to its end before. */
async function installed(folder, packages, install) {
  const stamp = join(folder, `.installed-${packages.join("_").replace(/[^\w.=-]/g, "_")}`);
  if (existsSync(stamp)) return;
  mkdirSync(folder, { recursive: true });
  await install().catch((error) => {
    throw new Missing(`can't be installed: ${error.message.trim().split("\n").at(-1)}`);
  });
  writeFileSync(stamp, "");
}
