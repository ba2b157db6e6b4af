// The demo's worker: fetches runtime and nets, reads pictures, runs nets over them. Answers one job at a time.

/** @typedef {{halo: number, stride: number}} Tile */
/** @typedef {{name: string, colour: string}} Class */
/**
 * @typedef {{title: string, about: string, task: string, file: string, bytes: number, scale: number, most: number,
 *   tile: Tile | null, classes: Class[], styles: string[], samples: string[]}} Net
 */
/** @typedef {{width: number, height: number}} Size */
/**
 * A picture from one of three sources; with a key it is kept for the next job. `side` limits its long side.
 * @typedef {{name: string, title: string, key: string, side?: number, url?: string, blob?: Blob,
 *   bitmap?: ImageBitmap}} Picture
 */
/** @typedef {{kind: "run", base: string, runtime: number, name: string, net: Net, picture: Picture,
 *   shares: number[] | null, threads: number}} Run */
/** @typedef {{kind: "save", before: ImageBitmap, after: ImageBitmap, opacity: number}} Save */
/** @typedef {Run | Save} Task */
/** @typedef {{stage: "load" | "run", done: number, total: number}} Progress */
/**
 * @typedef {Size & {name: string, net: Net, before: ImageBitmap, after: ImageBitmap, shown: ImageBitmap[],
 *   data: Uint8Array, channels: number, input: Size, original: Size, tiles: number, milliseconds: number,
 *   threads: number, counts: number[]}} Result
 */
/** @typedef {{id: number, progress?: Progress, result?: Result, blob?: Blob, back?: ImageBitmap[],
 *   error?: Failure}} Reply */
/**
 * `again`: trying once more may help. `fatal`: the worker is of no more use.
 * @typedef {{text: string, again: boolean, fatal: boolean, stopped?: boolean}} Failure
 */
/** @typedef {{start: number, stop: number, first: number, last: number}} Span */

const KEPT = 2; // sessions; an older net is fetched again, from the browser's cache
const INPUT = 12e6; // pixels
const OUTPUT = 16e6; // some phones have no canvas of more than 16.7 million
const SHOWN = 5e6;
const LONGEST = 16000; // side of a result: above it browsers have no canvas
const MANY = 5e6; // bytes of a file that may have too many pixels for a browser
const LEAST = 32; // side of a picture, as xferlib.web.export has it

/** An error told to the reader in a plain sentence. */
class Plain extends Error {
  /** @param {string} text @param {Partial<Failure>} [more] */
  constructor(text, more) {
    super(text);
    /** @type {Failure} */
    this.failure = { text, again: false, fatal: false, ...more };
  }
}

/** onnxruntime-web, once it is loaded; its types are not in the repository. @type {any} */
let ort = null;
/** @type {Map<string, any>} */
const sessions = new Map();
/** @type {{key: string, image: ImageData, original: Size} | null} */
let held = null;
let stopping = false;

/** @param {string} what @param {string} why */
const missing = (what, why) => new Plain(`${what} could not be loaded${why}`, { again: true, fatal: !ort });
const OFFLINE = ". Are you offline? Connect, then try again.";

/** @param {string} url @param {string} what @param {(bytes: number) => void} [got] @returns {Promise<Blob>} */
async function download(url, what, got) {
  const reply = await fetch(url).catch(() => {
    throw missing(what, OFFLINE);
  });
  if (reply.status === 404) {
    const why = "the book has changed since this page was opened. Reload the page.";
    throw new Plain(`${what} is gone: ${why}`, { fatal: !ort });
  }
  if (!reply.ok) throw missing(what, `: the site answered ${reply.status}.`);
  const parts = [];
  try {
    for (let reader = reply.body?.getReader(); reader; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      got?.(value.length);
    }
  } catch {
    throw missing(what, ": the connection broke. Try again.");
  }
  return new Blob(parts);
}

/** Start the runtime. @param {string} base @param {number} threads @param {(bytes: number) => void} got */
async function start(base, threads, got) {
  const wasm = await download(`${base}ort/ort-wasm-simd-threaded.wasm`, "The runtime", got);
  const module = await import(`${base}ort/ort.wasm.min.mjs`).catch(() => {
    throw missing("The runtime", OFFLINE);
  });
  const settings = module.env.wasm;
  settings.wasmBinary = await wasm.arrayBuffer();
  settings.wasmPaths = { mjs: `${base}ort/ort-wasm-simd-threaded.mjs` };
  settings.numThreads = threads;
  return module;
}

/** Give the session of a net, made now or kept. @param {Run} job @param {(p: Progress) => void} report */
async function open(job, report) {
  const { net } = job;
  let session = sessions.get(net.file);
  if (session) sessions.delete(net.file);
  else {
    const total = net.bytes + (ort ? 0 : job.runtime);
    let done = 0;
    const got = (/** @type {number} */ bytes) => {
      done += bytes;
      report({ stage: "load", done: Math.min(done, total - 1), total });
    };
    got(0);
    const [runtime, file] = await Promise.all([
      ort ?? start(job.base, job.threads, got),
      download(job.base + net.file, `The net ${net.title}`, got),
    ]);
    report({ stage: "load", done: total, total });
    const bytes = new Uint8Array(await file.arrayBuffer());
    session = await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    ort = runtime;
  }
  sessions.set(net.file, session);
  for (const [file, old] of [...sessions].slice(0, -KEPT)) {
    sessions.delete(file);
    await old.release();
  }
  return session;
}

/** How much smaller a picture must be made. @param {Size} size @param {Net} net @param {Picture} picture */
function reduction({ width, height }, net, picture) {
  const pixels = Math.min(net.tile ? INPUT : net.most, INPUT, OUTPUT / net.scale ** 2);
  const long = Math.max(width, height);
  const side = Math.min(picture.side ?? Infinity, LONGEST / net.scale);
  return Math.min(1, Math.sqrt(pixels / (width * height)), side / long);
}

/** Decode a picture, its colours as stored. @param {Picture} picture @returns {Promise<ImageBitmap>} */
async function decode(picture) {
  if (picture.bitmap) return picture.bitmap;
  const blob = picture.blob ?? (await download(picture.url ?? "", "The picture"));
  const options = /** @type {const} */ ({ colorSpaceConversion: "none", premultiplyAlpha: "none" });
  return createImageBitmap(blob, options).catch(() => {
    const many = blob.size > MANY ? ", or has too many pixels" : "";
    const way = `Save it as PNG or JPEG${many && ", smaller"}, or choose another one.`;
    throw new Plain(`“${picture.name}” is no picture that this browser can read${many}. ${way}`);
  });
}

/** Read a picture at the size that the net takes. @param {Picture} picture @param {Net} net */
async function read(picture, net) {
  const key = picture.key && `${picture.key} ${net.scale} ${net.tile ? 0 : net.most}`;
  if (held && key && held.key === key) return held;
  held = null;
  const bitmap = await decode(picture);
  const original = { width: bitmap.width, height: bitmap.height };
  const factor = reduction(original, net, picture);
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * factor)));
  if (Math.min(width, height) < LEAST) {
    const size = `${original.width}×${original.height}`;
    const thin = `is too long and narrow: at the size that this net takes it would be ${width}×${height}. Cut out a part.`;
    const few = `is too small for a net, which takes ${LEAST} or more on each side.`;
    throw new Plain(`The picture of ${size} pixels ${Math.min(original.width, original.height) < LEAST ? few : thin}`);
  }
  const read = { key, image: drawn(bitmap, width, height), original };
  bitmap.close();
  if (key) held = read;
  return read;
}

/**
 * Draw a picture at another size, on white. It is halved as often as that goes: not every browser averages over more.
 * @param {ImageBitmap | OffscreenCanvas} picture @param {number} width @param {number} height @returns {ImageData}
 */
function drawn(picture, width, height) {
  const [wide, high] = [Math.max(width, Math.ceil(picture.width / 2)), Math.max(height, Math.ceil(picture.height / 2))];
  const canvas = new OffscreenCanvas(wide, high);
  const pen = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (!pen) throw new Plain("This browser could not make room for the picture. Try a smaller one.");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, wide, high);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, wide, high);
  return wide > width || high > height ? drawn(canvas, width, height) : pen.getImageData(0, 0, width, height);
}

/**
 * Lay tiles along one axis, as `xferlib.ops.tiling` does.
 * @param {number} size @param {number} tile @param {Tile} how @returns {Span[]}
 */
function spans(size, tile, { halo, stride }) {
  if (size <= tile) return [{ start: 0, stop: size, first: 0, last: size }];
  const steps = (/** @type {number} */ distance, /** @type {number} */ step) => Math.max(0, Math.ceil(distance / step));
  const step = Math.floor((tile - 2 * halo) / stride) * stride;
  const count = steps(size - tile, step) + 1;
  const starts = Array.from({ length: count }, (_, k) => k * step);
  const edges = [0, ...starts.slice(1).map((start) => start + halo), size];
  // A sliver may be smaller than the net takes: read more of the picture, in the same phase.
  const least = Math.min(tile - stride + 1, Math.max(Math.floor(tile / 2), 2 * stride));
  const last = starts[count - 1];
  starts[count - 1] = Math.max(0, last - stride * steps(least - (size - last), stride));
  return starts.map((start, k) => ({ start, stop: Math.min(start + tile, size), first: edges[k], last: edges[k + 1] }));
}

/** Cut RGB out of RGBA. @param {ImageData} image @param {Span} row @param {Span} col */
function cut({ data, width }, row, col) {
  const rgb = new Uint8Array(3 * (row.stop - row.start) * (col.stop - col.start));
  for (let y = row.start, to = 0; y < row.stop; y++) {
    for (let from = 4 * (y * width + col.start), end = 4 * (y * width + col.stop); from < end; from += 4) {
      rgb[to++] = data[from];
      rgb[to++] = data[from + 1];
      rgb[to++] = data[from + 2];
    }
  }
  return rgb;
}

/**
 * Run a net over a picture, in tiles if it is large.
 * @param {any} session @param {Run} job @param {ImageData} image @param {(progress: Progress) => void} report
 */
async function run(session, job, image, report) {
  const { scale, most, tile } = job.net;
  const how = tile ?? { halo: 0, stride: 1 };
  const least = Math.ceil((2 * how.halo) / how.stride) + 1;
  const side = how.stride * Math.max(least, Math.floor(Math.sqrt(most) / how.stride));
  const whole = !tile || image.width * image.height <= most;
  const [rows, cols] = [image.height, image.width].map((size) => spans(size, whole ? size : side, how));
  const total = rows.length * cols.length;
  const width = scale * image.width;
  let [data, channels, done, milliseconds] = [new Uint8Array(), 1, 0, 0];
  const shares = job.shares && new ort.Tensor("float32", Float32Array.from(job.shares), [job.shares.length]);
  for (const row of rows) {
    for (const col of cols) {
      report({ stage: "run", done: done++, total });
      if (total > 1) await new Promise((resolve) => setTimeout(resolve)); // lets "stop" come in
      if (stopping) throw new Plain("", { stopped: true });
      const [high, wide] = [row.stop - row.start, col.stop - col.start];
      const pixels = new ort.Tensor("uint8", cut(image, row, col), [high, wide, 3]);
      const begun = performance.now();
      const { result } = await session.run(shares ? { pixels, shares } : { pixels });
      milliseconds += performance.now() - begun;
      channels = result.dims[2] ?? 1;
      if (total === 1) data = result.data;
      else {
        if (!data.length) data = new Uint8Array(channels * scale * image.height * width);
        const [from, to] = [channels * scale * (col.first - col.start), channels * scale * (col.last - col.start)];
        for (let y = scale * row.first; y < scale * row.last; y++) {
          const line = channels * scale * wide * (y - scale * row.start);
          data.set(result.data.subarray(line + from, line + to), channels * (y * width + scale * col.first));
        }
      }
      result.dispose();
    }
  }
  return { data, channels, width, height: scale * image.height, tiles: total, milliseconds };
}

/** Colour a result, and count its classes. @param {Uint8Array} data @param {Size} size @param {Class[]} classes */
function colour(data, { width, height }, classes) {
  const image = new ImageData(width, height);
  const counts = classes.map(() => 0);
  const colours = classes.map(({ colour }) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  for (let from = 0, to = 0; to < image.data.length; to += 4) {
    if (classes.length) {
      const label = data[from++];
      if (!(label in colours)) continue; // void: nothing is laid over the picture
      counts[label]++;
      [image.data[to], image.data[to + 1], image.data[to + 2]] = colours[label];
    } else {
      image.data[to] = data[from++];
      image.data[to + 1] = data[from++];
      image.data[to + 2] = data[from++];
    }
    image.data[to + 3] = 255;
  }
  return { image, counts };
}

/** Say in a sentence what went wrong. @param {unknown} error @param {Task} job @returns {Failure} */
function failure(error, job) {
  if (error instanceof Plain) return error.failure;
  const detail = error instanceof Error ? error.message : String(error);
  const full = /memory|alloc|out of bounds|^\d+$/i.test(detail);
  const what = job.kind === "run" ? job.net.title : "Saving";
  const text = full ? "The browser ran out of memory. Try a smaller picture, or close other tabs."
    : `${what} failed in this browser (${detail}). Try again, or another picture.`;
  return { text, again: true, fatal: true };
}

/** Give what the page shows: a canvas of very many pixels would hold it up. @param {ImageData} image */
function reduced(image) {
  const factor = Math.min(1, Math.sqrt(SHOWN / (image.width * image.height)));
  const [resizeWidth, resizeHeight] = [image.width, image.height].map((side) => Math.round(side * factor));
  return createImageBitmap(image, factor < 1 ? { resizeWidth, resizeHeight, resizeQuality: "medium" } : {});
}

/** @param {Run} job @param {(p: Progress) => void} report @returns {Promise<Result>} */
async function answer(job, report) {
  const { image, original } = await read(job.picture, job.net);
  const made = await run(await open(job, report), job, image, report);
  const { image: painted, counts } = colour(made.data, made, job.net.classes);
  const [before, after, ...shown] = await Promise.all([
    createImageBitmap(image), createImageBitmap(painted), reduced(image), reduced(painted),
  ]);
  const input = { width: image.width, height: image.height };
  const { name, net } = job;
  const threads = ort.env.wasm.numThreads; // it takes one where the page is not isolated
  return { ...made, name, net, before, after, shown, input, original, threads, counts };
}

/** Lay the result over the picture, as PNG. @param {Save} job */
function save({ before, after, opacity }) {
  const canvas = new OffscreenCanvas(after.width, after.height);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (opacity < 1) pen.drawImage(before, 0, 0, after.width, after.height);
  pen.globalAlpha = opacity;
  pen.drawImage(after, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

self.onmessage = async (/** @type {MessageEvent<({id: number} & Task) | {kind: "stop"}>} */ { data: job }) => {
  stopping = job.kind === "stop";
  if (job.kind === "stop") return;
  const { id } = job;
  /** @type {(reply: Omit<Reply, "id">, transfer?: Transferable[]) => void} */
  const send = (reply, transfer = []) => self.postMessage({ id, ...reply }, { transfer });
  try {
    if (job.kind === "save") {
      const back = [job.before, job.after];
      send({ blob: await save(job), back }, back);
    } else {
      const result = await answer(job, (progress) => send({ progress }));
      send({ result }, [result.before, result.after, ...result.shown, result.data.buffer]);
    }
  } catch (error) {
    send({ error: failure(error, job) });
  }
};

// While this worker lives it holds a lock; the page, next in line, learns of its death.
const ready = () => self.postMessage({ id: 0 });
if (navigator.locks) navigator.locks.request(self.name, () => (ready(), new Promise(() => {})));
else ready();
