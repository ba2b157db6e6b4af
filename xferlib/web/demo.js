// <xfer-demo net="...">: a net on the reader's own picture, in the reader's browser. The heavy work is in
// demo/worker.mjs. Until a demo is touched it loads a poster and nothing else.
(() => {
  "use strict";

  /** @import { Net, Picture, Progress, Reply, Result, Size, Task } from "./worker.mjs" */
  /** @typedef {{title: string, file: string}} Sample */
  /** @typedef {{worker: string, runtime: {bytes: number}, samples: Record<string, Sample>, nets: Record<string, Net>}} Catalogue */
  /** @typedef {{id: number, task: Task, transfer: Transferable[], progress: (progress: Progress) => void,
   *   resolve: (reply: Reply) => void, reject: (error: Plain | null) => void}} Job */

  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const BASE = new URL("demo/", script.src).href;
  const HEAVIEST = 60e6; // bytes of a file
  const LIVE = 256; // long side of a picture from the camera; a net that enlarges makes twice that of it
  const THREADS = window.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const OFFLINE = "could not be loaded. Are you offline? Connect, then try again.";
  const CAMERA = /** @type {Record<string, string>} */ ({
    NotAllowedError: "The camera was refused. Allow it in the browser's settings for this page, or choose a picture.",
    NotFoundError: "No camera was found. Choose a picture instead.",
    NotReadableError: "The camera is in use by another program. Close that, or choose a picture.",
  });
  // A module of one SIMD instruction.
  const SIMD = "AGFzbQEAAAABBQFgAAF7AwIBAAoKAQgAQQD9D/1iCw==";

  const size = (/** @type {Size} */ { width, height }) => `${width}×${height}`;
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1);
  const duration = (/** @type {number} */ ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
  const percent = (/** @type {number} */ share) => (share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`);
  const within = (/** @type {number} */ place) => Math.min(100, Math.max(0, place));

  /** An error told to the reader in a plain sentence; `again` where trying once more may help. */
  class Plain extends Error {
    /** @param {string} text @param {boolean} [again] */
    constructor(text, again = false) {
      super(text);
      this.again = again;
    }
  }

  const sentence = (/** @type {any} */ error) =>
    error instanceof Plain ? error.message : CAMERA[error?.name] ?? `The demo failed (${error}). Try again.`;

  // The worker that all demos of a page share, and its jobs: the first is being done.
  /** @type {Worker | null} */
  let worker = null;
  /** @type {Job[]} */
  const jobs = [];
  let count = 0;
  let code = ""; // the worker's file, named in the catalogue

  function hire() {
    const name = `xfer-demo-${Date.now()}-${++count}`;
    const hired = new Worker(BASE + code, { type: "module", name });
    let text = `The demo ${OFFLINE} If that does not help, reload the page.`;
    const lost = () => {
      if (worker === hired) finish({ id: jobs[0]?.id ?? 0, error: { text, again: true, fatal: true } });
    };
    hired.onerror = hired.onmessageerror = lost;
    hired.onmessage = ({ data: reply }) => {
      if (reply.id === 0) {
        text = "The worker that runs the nets was lost. Try again, perhaps with a smaller picture.";
        navigator.locks?.request(name, lost); // the worker holds this lock as long as it lives
      } else if (!reply.progress) finish(reply);
      else if (reply.id === jobs[0]?.id) jobs[0].progress(reply.progress);
    };
    return hired;
  }

  function next() {
    if (!jobs.length) return;
    const [{ id, task, transfer }] = jobs;
    try {
      worker ??= hire();
      worker.postMessage({ ...task, id }, transfer);
    } catch (error) {
      finish({ id, error: { text: `The browser refused to run the net (${error}).`, again: true, fatal: true } });
    }
  }

  /** @param {Reply} reply */
  function finish(reply) {
    const { id, error } = reply;
    if (error?.fatal) {
      worker?.terminate();
      worker = null;
    }
    if (jobs[0]?.id !== id) return;
    const [job] = jobs.splice(0, 1);
    if (!error) job.resolve(reply);
    else job.reject(error.stopped ? null : new Plain(error.text, error.again));
    next();
  }

  /**
   * Give the worker a job. Whoever waits for the reply of one that is stopped or dropped gets null for an error.
   * @param {Task} task @param {(progress: Progress) => void} [progress] @param {Transferable[]} [transfer]
   */
  function submit(task, progress = () => {}, transfer = []) {
    const id = ++count;
    const first = () => jobs[0]?.id === id;
    /** @type {Promise<Reply>} */
    const reply = new Promise((resolve, reject) => jobs.push({ id, task, transfer, progress, resolve, reject }));
    if (first()) next();
    return {
      reply,
      stop: () => first() && worker?.postMessage({ kind: "stop" }), // heeded between two tiles
      drop() {
        if (first()) finish({ id, error: { text: "", again: false, fatal: true, stopped: true } });
        else {
          const at = jobs.findIndex((job) => job.id === id);
          if (at > 0) jobs.splice(at, 1)[0].reject(null);
        }
      },
    };
  }

  /** @type {Promise<Catalogue> | null} */
  let catalogue = null;
  function load() {
    catalogue ??= fetch(`${BASE}nets.json`, { cache: "no-cache" }) // it names the nets and the worker by their content
      .then((reply) => (reply.ok ? reply.json() : Promise.reject(reply.status)))
      .then((found) => ((code = found.worker), found))
      .catch((cause) => {
        catalogue = null;
        const why = typeof cause === "number" ? `could not be loaded: the site answered ${cause}.` : OFFLINE;
        throw new Plain(`The list of nets ${why}`, true);
      });
    return catalogue;
  }

  /** Refuse a browser that cannot run nets. */
  function check() {
    const file = "Browsers let no page from a file run nets. Open the book with “make serve”, then try again.";
    if (location.protocol === "file:") throw new Plain(file);
    const module = Uint8Array.from(atob(SIMD), (char) => char.charCodeAt(0));
    const wasm = "This browser has no WebAssembly with SIMD, which the nets need. Allow it, or use a newer browser.";
    if (typeof WebAssembly !== "object" || !WebAssembly.validate(module)) throw new Plain(wasm);
    const canvas = "This browser cannot draw outside the page, which the nets need. Use a newer browser.";
    if (typeof OffscreenCanvas === "undefined") throw new Plain(canvas);
  }

  /** @param {string} tag @param {Record<string, string | number>} [attributes] @param {(Node | string)[]} content */
  function make(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    made.append(...content);
    return made;
  }

  const control = (/** @type {string} */ name, /** @type {string} */ input) =>
    `<label class="xd-control" hidden><span>${name}</span>${input}</label>`;
  const slider = (/** @type {string} */ name, /** @type {number} */ value) =>
    `<input type="range" class="${name}" min="0" max="100" value="${value}"><span aria-hidden="true"></span>`;
  const PARTS = `
    <div class="xd-head"><p class="xd-title"></p><p class="xd-about"></p></div>
    <div class="xd-stage" role="group" tabindex="-1">
      <img class="xd-poster dark-light" loading="lazy" decoding="async">
      <div class="xd-pair" hidden>
        <div class="xd-side"><canvas class="xd-before" role="img"></canvas></div>
        <div class="xd-side xd-over"><canvas class="xd-after" role="img"></canvas></div>
        <span class="xd-tag xd-left"></span><span class="xd-tag xd-right"></span>
        <input type="range" class="xd-split" min="0" max="100" value="50" aria-label="Divider between the two pictures">
      </div>
      <div class="xd-busy">
        <span class="xd-doing"></span><progress class="xd-progress" aria-label="Progress"></progress>
        <button type="button" class="xd-cancel">Cancel</button>
      </div>
      <p class="xd-drop" aria-hidden="true">Drop the picture here</p>
    </div>
    <div class="xd-row xd-report">
      <p class="xd-status" role="status"></p>
      <button type="button" class="xd-again">Try again</button>
      <button type="button" class="xd-magnify">Magnify</button>
      <button type="button" class="xd-save">Save</button>
    </div>
    <ul class="xd-row xd-legend" aria-label="Classes found" hidden></ul>
    <div class="xd-row xd-intro">
      <button type="button" class="xd-start">Try it on a picture</button>
      <button type="button" class="xd-film">Use the camera</button>
      <p class="xd-note xd-cost"></p>
    </div>
    <div class="xd-panel" hidden>
      ${control("Net", '<select class="xd-net"></select>')}${control("Style", '<select class="xd-style"></select>')}
      ${control("Strength", slider("xd-strength", 100))}${control("Colours", slider("xd-opacity", 65))}
      <div class="xd-row">
        <div class="xd-row xd-samples" role="group" aria-label="Pictures to try"></div>
        <label class="xd-file">Your picture…<input type="file" class="xd-input" accept="image/*"></label>
        <button type="button" class="xd-camera">Camera</button>
      </div>
      <p class="xd-note">Or drop a picture here, or paste one. It never leaves this page.</p>
    </div>`;

  /** The demo touched last, which a pasted picture is for. @type {Demo | null} */
  let latest = null;

  class Demo extends HTMLElement {
    /** What the last run made, for scripts and tests. @type {Record<string, unknown> | null} */
    outcome = null;
    #name = "";
    /** @type {Catalogue | null} */
    #catalogue = null;
    /** The picture asked for. @type {Picture | null} */
    #picture = null;
    /** The picture shown. @type {Picture | null} */
    #shown = null;
    #set = { style: 0, strength: "100" }; // the controls that it was made with
    /** That picture and its result, in all their pixels. @type {ImageBitmap[]} */
    #made = [];
    #saving = false;
    /** @type {ReturnType<typeof submit> | null} */
    #job = null;
    /** @type {Promise<void> | null} */
    #loop = null;
    /** @type {MediaStream | null} */
    #stream = null;
    #frame = { last: 0, gap: 0, said: 0 };
    #more = false;
    #turn = 0; // grows with each cancel: what was begun before it is void
    #large = false;

    /** @template {Element} T @param {string} name @param {{new (): T}} type @returns {T} */
    #part(name, type) {
      const found = this.querySelector(`.xd-${name}`);
      if (found instanceof type) return found;
      throw new Error(`no ${name} in xfer-demo`);
    }
    #html = (/** @type {string} */ name) => this.#part(name, HTMLElement);
    #input = (/** @type {string} */ name) => this.#part(name, HTMLInputElement);
    #select = (/** @type {string} */ name) => this.#part(name, HTMLSelectElement);
    #write = (/** @type {string} */ name, /** @type {string} */ text) => {
      if (this.#html(name).textContent !== text) this.#html(name).textContent = text;
    };

    connectedCallback() {
      if (this.dataset.state) return;
      this.innerHTML = PARTS;
      this.#name = this.getAttribute("net") ?? this.#nets()[0];
      const heading = this.getAttribute("heading") ?? "Run this net yourself";
      const load = this.getAttribute("megabytes") ?? "15 to 20";
      this.#head(heading, this.getAttribute("about") ?? "on a picture of yours");
      this.#write("cost", `Runs in your browser: ${load} MB to load, once. Your picture never leaves this page.`);
      const poster = this.#part("poster", HTMLImageElement);
      poster.onerror = () => (poster.hidden = true);
      poster.alt = `${heading}: before and after`;
      poster.src = `${BASE}posters/${this.#name}.jpg`;
      if (this.hasAttribute("camera")) this.#html("intro").prepend(this.#html("film"));
      else this.#html("film").hidden = true;
      this.#enter("idle");
      this.#listen();
      this.#compare();
    }

    disconnectedCallback() {
      if (!this.isConnected) this.#cancel("Stopped.");
    }

    #nets = () => (this.getAttribute("nets") ?? "").split(/\s+/).filter(Boolean);

    /** @param {string} title @param {string} about */
    #head(title, about) {
      this.#write("title", title);
      this.#write("about", about);
      this.#html("stage").setAttribute("aria-label", title);
    }

    /** @param {"idle" | "loading" | "running" | "done" | "error"} state @param {boolean} [again] */
    #enter(state, again = false) {
      const ended = state !== "loading" && state !== "running";
      if (ended && document.activeElement === this.#html("cancel")) this.#html("stage").focus({ preventScroll: true });
      this.dataset.state = state;
      this.toggleAttribute("data-again", again);
    }

    /** @param {string} text */
    #say(text) {
      this.#html("status").setAttribute("aria-live", this.#stream ? "off" : "polite"); // not twice a second
      this.#write("status", text);
    }

    #listen() {
      /** @type {(name: string, type: string, act: (target: any) => void) => void} */
      const on = (name, type, act) => this.#html(name).addEventListener(type, ({ target }) => act(target));
      const focus = () => this.#html("stage").focus({ preventScroll: true }); // as the button goes
      on("start", "click", () => (focus(), this.#update()));
      on("film", "click", () => (focus(), this.#film()));
      on("again", "click", () => (focus(), this.#update()));
      on("cancel", "click", () => (focus(), this.#cancel("Stopped.")));
      on("camera", "click", () => (this.#stream ? this.#cancel("The camera is off.") : this.#film()));
      on("magnify", "click", () => this.#magnify(!this.#large, true));
      on("save", "click", () => this.#save());
      on("net", "change", (select) => (this.#choose(select.value), this.#adjust()));
      on("style", "change", () => this.#adjust());
      on("strength", "input", () => this.#adjust());
      on("opacity", "input", () => this.#level());
      on("input", "change", (input) => (this.take(input.files[0]), (input.value = "")));
      this.onpointerdown = () => (latest = this);
      this.addEventListener("keydown", (event) => {
        if (["ArrowLeft", "ArrowRight"].includes(event.key)) event.stopPropagation(); // the book turns pages by them
      });
      this.addEventListener("focusin", () => (latest = this));
      const over = (/** @type {DragEvent} */ event, /** @type {boolean} */ on) => {
        event.preventDefault();
        this.toggleAttribute("data-over", on);
      };
      this.ondragover = (event) => void (event.dataTransfer?.types.includes("Files") && over(event, true));
      const inside = (/** @type {EventTarget | null} */ target) => target instanceof Node && this.contains(target);
      this.ondragleave = (event) => void (inside(event.relatedTarget) || over(event, false));
      this.ondrop = (event) => (over(event, false), this.take(event.dataTransfer?.files[0]));
    }

    /** The divider: keyboard and screen reader have a range input; a pointer sets it too. Magnified, it also pans. */
    #compare() {
      const pair = this.#html("pair");
      const input = this.#input("split");
      let height = 50;
      const show = () => {
        pair.style.setProperty("--split", `${input.value}%`);
        pair.style.setProperty("--height", `${height}%`);
        input.setAttribute("aria-valuetext", `${input.value} % ${this.#html("left").textContent}`);
        this.#html("left").hidden = Number(input.value) < 20;
        this.#html("right").hidden = Number(input.value) > 80;
      };
      const follow = (/** @type {PointerEvent} */ event) => {
        const box = pair.getBoundingClientRect();
        input.value = String((100 * (event.clientX - box.left)) / box.width);
        height = within((100 * (event.clientY - box.top)) / box.height);
        show();
      };
      let from = /** @type {PointerEvent | null} */ (null); // where a finger came down that may be about to scroll
      pair.onpointerdown = (event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        pair.setPointerCapture(event.pointerId);
        input.focus({ preventScroll: true });
        from = event.pointerType === "touch" && !pair.classList.contains("xd-free") ? event : null;
        if (!from) follow(event);
      };
      pair.onpointermove = (event) => {
        if (from && Math.abs(event.clientX - from.clientX) <= Math.abs(event.clientY - from.clientY)) return;
        from = null;
        if (pair.hasPointerCapture(event.pointerId)) follow(event);
      };
      pair.onpointerup = (event) => void (pair.hasPointerCapture(event.pointerId) && follow(event));
      input.oninput = show;
      input.onkeydown = (event) => {
        const step = { ArrowUp: -5, ArrowDown: 5 }[event.key];
        if (!step || !this.#large) return;
        event.preventDefault();
        height = within(height + step);
        show();
      };
    }

    /** @param {boolean} large @param {boolean} [asked] */
    #magnify(large, asked = false) {
      this.#large = large;
      const pair = this.#html("pair");
      const natural = this.#part("after", HTMLCanvasElement).width / devicePixelRatio / (pair.clientWidth || 1);
      pair.style.setProperty("--zoom", String(large ? Math.max(2, natural) : 1));
      pair.classList.toggle("xd-large", large);
      if (asked) pair.classList.toggle("xd-free", large); // a finger pans it also up and down
      this.#html("magnify").setAttribute("aria-pressed", String(large));
      this.#input("split").dispatchEvent(new Event("input"));
    }

    /** Run the net on a file. @param {File} [file] */
    take(file) {
      if (file) this.#wish({ name: file.name, title: file.name, key: `file ${++count}`, blob: file });
    }

    /** @param {Picture} picture */
    #wish(picture) {
      this.#release();
      this.#picture = picture;
      this.#update();
    }

    /** Run what is asked for; while that lasts only the newest wish is kept. */
    #update() {
      this.#more = true;
      this.#enter(this.#shown ? "running" : "loading");
      this.#bar("Starting");
      this.#job?.stop();
      this.#loop ??= (async () => {
        while (this.#more) {
          this.#more = false;
          await this.#once();
        }
        this.#loop = null;
      })();
      return this.#loop;
    }

    async #once() {
      const turn = this.#turn;
      try {
        this.#enter(this.#shown ? "running" : "loading");
        check();
        const catalogue = await load();
        if (turn !== this.#turn) return;
        if (!this.#catalogue) this.#unfold(catalogue);
        const picture = (this.#picture ??= this.#sample(this.getAttribute("sample") ?? ""));
        const heed = (/** @type {Progress} */ progress) => turn === this.#turn && this.#progress(progress);
        const set = { style: this.#select("style").selectedIndex, strength: this.#input("strength").value };
        this.#job = submit(this.#task(catalogue, picture), heed);
        const { result } = await this.#job.reply;
        const stale = this.#more && (result?.name !== this.#name || picture !== this.#picture);
        if (result && turn === this.#turn && !stale) this.#show(result, picture, set);
        else if (result) for (const bitmap of [result.before, result.after, ...result.shown]) bitmap.close();
      } catch (error) {
        if (turn === this.#turn) this.#fail(error);
      }
      this.#job = null;
    }

    /** @param {Catalogue} catalogue @param {Picture} picture @returns {Task} */
    #task({ runtime }, picture) {
      const net = this.#net;
      const mass = picture.blob?.size ?? 0;
      if (mass > HEAVIEST) {
        throw new Plain(`“${picture.name}” has ${megabytes(mass)} MB; 60 are the most here. Save it smaller first.`);
      }
      const chosen = this.#select("style").selectedIndex;
      const strength = Number(this.#input("strength").value) / 100;
      const shares = net.styles.length ? net.styles.map((_, k) => (k === chosen ? strength : 0)) : null;
      const side = picture.bitmap && (net.scale > 1 ? Math.round((2 * LIVE) / net.scale) : LIVE);
      const fixed = { base: BASE, runtime: runtime.bytes, threads: THREADS };
      return { kind: "run", ...fixed, name: this.#name, net, picture: { ...picture, side }, shares };
    }

    get #net() {
      return /** @type {Catalogue} */ (this.#catalogue).nets[this.#name];
    }

    /** Give a sample, the net's first for want of another. @param {string} wanted @returns {Picture} */
    #sample(wanted) {
      const { samples } = /** @type {Catalogue} */ (this.#catalogue);
      const key = wanted in samples ? wanted : this.#net.samples[0];
      return { name: key, title: samples[key].title, key, url: BASE + samples[key].file };
    }

    /** Set up the controls. @param {Catalogue} catalogue */
    #unfold(catalogue) {
      const { nets } = catalogue;
      const listed = this.#nets();
      const names = [...new Set([this.#name, ...(listed[0] === "all" ? Object.keys(nets) : listed)])];
      const missing = names.find((name) => !(name in nets));
      if (missing !== undefined) throw new Plain(`This site has no net called “${missing}”.`);
      this.#catalogue = catalogue;
      const groups = new Map(names.map((name) => [nets[name].task, make("optgroup", { label: nets[name].task })]));
      for (const name of names) groups.get(nets[name].task)?.append(make("option", { value: name }, nets[name].title));
      this.#html("net").append(...groups.values());
      this.#html("intro").hidden = true;
      this.#html("panel").hidden = false;
      this.#choose(this.#name);
    }

    /** Take up a net. @param {string} name */
    #choose(name) {
      this.#name = this.#select("net").value = name;
      const { title, about, styles, classes, samples, scale } = this.#net;
      this.#head(title, about);
      this.#html("style").replaceChildren(...styles.map((style) => make("option", {}, style)));
      const controls = { net: this.#select("net").length > 1, style: styles.length > 1,
        strength: styles.length > 0, opacity: classes.length > 0 };
      for (const [name, on] of Object.entries(controls)) this.#html(name).parentElement?.toggleAttribute("hidden", !on);
      this.#large = scale > 1;
      this.#html("samples").replaceChildren(...samples.map((sample) => {
        const picture = this.#sample(sample);
        const image = make("img", { src: picture.url ?? "", alt: picture.title, class: "dark-light" });
        const button = make("button", { type: "button", title: picture.title, "data-sample": sample }, image);
        button.onclick = () => this.#wish(picture);
        return button;
      }));
      if (this.#picture?.url && !samples.includes(this.#picture.key)) this.#picture = null;
      this.#mark();
      this.#level();
    }

    /** Mark the sample that is shown. */
    #mark() {
      for (const button of this.querySelectorAll("[data-sample]")) {
        button.setAttribute("aria-pressed", String(button.getAttribute("data-sample") === this.#shown?.key));
      }
    }

    /** Take up the net and the controls of what is shown again. */
    #revert() {
      if (!this.outcome) return;
      if (this.outcome.net !== this.#name) this.#choose(String(this.outcome.net));
      this.#magnify(this.#large);
      this.#select("style").selectedIndex = this.#set.style;
      this.#input("strength").value = this.#set.strength;
      this.#level();
    }

    /** A control was moved. A live camera heeds it with its next picture. */
    #adjust() {
      this.#level();
      if (!this.#stream) this.#update();
    }

    #level() {
      for (const name of ["strength", "opacity"]) {
        const input = this.#input(name);
        const text = `${input.value} %`;
        input.setAttribute("aria-valuetext", text);
        if (input.nextElementSibling) input.nextElementSibling.textContent = text;
      }
      this.#html("after").style.opacity = String(this.#opacity());
    }

    #opacity = () => (this.outcome?.channels === 1 ? Number(this.#input("opacity").value) / 100 : 1);

    /** @param {Progress} progress */
    #progress({ stage, done, total }) {
      const loading = stage === "load";
      this.#enter(loading ? "loading" : "running");
      if (loading && done === 0) this.#say(`Loading ${this.#net.title} …`);
      const loads = done < total ? `Loading: ${megabytes(done)} of ${megabytes(total)} MB` : "Starting";
      const runs = total > 1 ? `Running: tile ${done + 1} of ${total}` : "Running";
      this.#bar(loading ? loads : runs, total > 1 && done < total ? done / total : undefined);
    }

    /** @param {string} doing @param {number} [share] */
    #bar(doing, share) {
      const bar = this.#part("progress", HTMLProgressElement);
      if (share === undefined) bar.removeAttribute("value");
      else bar.value = share;
      this.#write("doing", doing);
    }

    /** @param {Result} result @param {Picture} picture @param {{style: number, strength: string}} set */
    #show(result, picture, set) {
      const { name, net, before, after, shown, counts, original, tiles, ...outcome } = result;
      const { width, height, input, milliseconds, threads, data } = outcome;
      this.outcome = { net: name, ...outcome };
      this.#set = set;
      if (this.#shown !== picture) this.#shown?.bitmap?.close();
      this.#shown = picture;
      for (const old of this.#made) old.close();
      this.#made = [before, after];
      this.#draw("before", shown[0], `The picture: ${picture.title}`);
      this.#draw("after", shown[1], `${net.title} on ${picture.title}${this.#legend(net, counts, data.length)}`);
      this.#write("left", counts.length ? "picture" : "before");
      this.#write("right", counts.length ? "labels" : "after");
      this.#mark();
      this.#html("pair").style.cssText += `--width: ${width}; --ratio: ${width / height}`;
      this.#html("pair").hidden = false;
      this.#html("poster").hidden = true;
      this.#magnify(this.#large);
      this.#level();
      const sizes = net.scale > 1 ? `${size(input)} to ${size(result)}` : size(input);
      const cores = threads === 1 ? "1 thread" : `${threads} threads`;
      if (this.#stream) return this.#rate(`${sizes}, ${cores}`);
      let text = `${sizes} in ${duration(milliseconds)}, ${cores}.`;
      if (input.width < original.width && !picture.bitmap) {
        text += ` Your picture was scaled from ${size(original)} to ${size(input)}, the most this net takes here.`;
      }
      if (tiles > 1) text += ` It was done in ${tiles} tiles.`;
      this.#enter("done");
      this.#say(text);
    }

    /** List the classes found, also as text. @param {Net} net @param {number[]} counts @param {number} all */
    #legend({ classes }, counts, all) {
      const found = classes.map((each, k) => ({ ...each, share: counts[k] / all })).filter(({ share }) => share > 0);
      found.sort((a, b) => b.share - a.share);
      this.#html("legend").hidden = !found.length;
      this.#html("legend").replaceChildren(...found.map(({ name, colour, share }) =>
        make("li", {}, make("i", { style: `background: ${colour}` }), name, make("b", {}, percent(share)))));
      return found.map(({ name, share }, k) => `${k ? "," : ":"} ${name} ${percent(share)}`).join("");
    }

    /** @param {string} name @param {ImageBitmap} bitmap @param {string} label */
    #draw(name, bitmap, label) {
      const canvas = this.#part(name, HTMLCanvasElement);
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.getContext("bitmaprenderer")?.transferFromImageBitmap(bitmap);
      canvas.setAttribute("aria-label", label);
    }

    /** Say how many pictures a second a camera gets. @param {string} what */
    #rate(what) {
      const { last, gap, said } = this.#frame;
      const now = performance.now();
      const mean = gap ? 0.8 * gap + 0.2 * (now - last) : last && now - last;
      const due = mean > 0 && now - said > 500;
      this.#frame = { last: now, gap: mean, said: due ? now : said };
      if (due) this.#say(`${(1000 / mean).toFixed(1)} frames a second, ${what}.`);
    }

    async #film() {
      const turn = this.#turn;
      try {
        check();
        if (!navigator.mediaDevices) throw new Plain("Browsers lend the camera only to pages from https or localhost.");
        const facingMode = this.#name.includes("style") ? "user" : "environment";
        const video = { facingMode, width: { ideal: 640 }, height: { ideal: 480 } };
        const stream = await navigator.mediaDevices.getUserMedia({ video });
        const end = () => stream.getTracks().forEach((track) => track.stop());
        if (turn !== this.#turn || this.#stream || document.hidden || !this.isConnected) return end();
        this.#stream = stream;
        this.#frame = { last: 0, gap: 0, said: 0 };
        this.#write("camera", "Stop camera");
        this.toggleAttribute("data-live", true);
        stream.getTracks()[0].onended = () => this.#cancel("The camera is off.");
        const screen = document.createElement("video");
        [screen.muted, screen.playsInline, screen.srcObject] = [true, true, stream];
        await screen.play();
        while (this.#stream === stream) {
          const bitmap = await createImageBitmap(screen);
          if (this.#stream !== stream) return bitmap.close();
          this.#picture = { name: "camera", title: "the camera's picture", key: "", bitmap };
          await this.#update();
        }
      } catch (error) {
        if (turn !== this.#turn) return;
        this.#loop ? this.#cancel(sentence(error)) : this.#fail(error); // a run that went on is not wanted any more
      }
    }

    #release() {
      this.#stream?.getTracks().forEach((track) => track.stop());
      this.#stream = null;
      this.#write("camera", "Camera");
      this.toggleAttribute("data-live", false);
    }

    /** End what runs. @param {string} text */
    #cancel(text) {
      if (!this.#stream && !this.#loop) return;
      this.#turn++;
      this.#more = false;
      if (!this.#stream || !this.#shown?.bitmap || this.dataset.state === "loading") this.#job?.drop(); // else soon done
      this.#release();
      this.#picture = this.#shown ?? this.#picture;
      this.#revert();
      this.#enter(this.outcome ? "done" : "idle", !this.outcome && this.#catalogue !== null);
      this.#say(text);
    }

    /** @param {unknown} error */
    #fail(error) {
      if (!error) return; // stopped, for a newer wish
      const again = error instanceof Plain && error.again;
      this.#release();
      if (!again && !this.#more) {
        this.#picture = this.#shown;
        this.#revert();
      }
      this.#enter("error", again && this.#catalogue !== null);
      this.#say(sentence(error));
    }

    async #save() {
      const made = this.#made;
      if (this.#saving) return;
      if (!made.length) return this.#say("The result was lost. Run the net again, then save.");
      this.#saving = true;
      this.#made = [];
      const file = `${this.#shown?.name.replace(/\.\w+$/, "")}-${this.outcome?.net}.png`;
      try {
        const [before, after] = made;
        const job = submit({ kind: "save", before, after, opacity: this.#opacity() }, undefined, made);
        const { blob = new Blob(), back = [] } = await job.reply;
        if (!this.#made.length) this.#made = back;
        else for (const bitmap of back) bitmap.close(); // there is a newer result
        const link = document.createElement("a");
        [link.href, link.download] = [URL.createObjectURL(blob), file];
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
        if (!this.#stream) this.#say(`Saved as ${file}.`);
      } catch (error) {
        if (error) this.#say(sentence(error));
      }
      this.#saving = false;
    }

    static hide() {
      for (const demo of document.hidden ? document.querySelectorAll("xfer-demo") : []) {
        if (demo instanceof Demo && demo.#stream) demo.#cancel("The camera went off when the page was hidden.");
      }
    }
  }

  document.addEventListener("visibilitychange", Demo.hide);
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file || !latest?.isConnected || document.activeElement?.matches("[type=search], [type=text], textarea")) return;
    event.preventDefault();
    latest.take(file);
  });

  // Once the page is parsed: what an element holds for readers without JavaScript must be there to be replaced.
  const start = () => customElements.define("xfer-demo", Demo);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
