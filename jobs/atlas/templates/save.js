// Saving a window's sound: a page may read only what somebody chooses, so the folder of the recordings is asked for once.
"use strict";

const chosen = { files: new Map() };

function startSaving() {
  $("recordings-files").addEventListener("change", () => {
    chosen.files = new Map([...$("recordings-files").files].map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]));
    $("recordings-said").textContent = chosen.files.size + " files: their sounds can be saved.";
  });
}

function saveButton(one) {
  const button = element("button", { type: "button", className: "save", textContent: "Save" });
  button.ariaLabel = "Save the sound of " + one.recorder + ", " + whenWords(one);
  button.addEventListener("click", () => saveWindow(one).catch((error) => openRecordings("Not saved: " + error.message)));
  return button;
}

async function saveWindow(one) {
  const { path, expanded } = await recordingOf(one.recording), file = chosen.files.get(path);
  if (!file) {
    return openRecordings("To save sounds, choose the folder of the recordings; the page then reads " + path + " in it. Nothing leaves this computer.");
  }
  const from = Math.max(0, one.offset_ms / 1000), to = (one.offset_ms + state.data.window_ms) / 1000;
  const sound = (!expanded && await cutWav(file, from, to)) || await cutDecoded(file, from, to, expanded);
  const time = one.isTimed ? new Date(one.start_ms).toISOString().slice(0, 19).replace(/[-:]/g, "") + "Z" : "cell" + one.cell;
  const link = element("a", { href: URL.createObjectURL(sound), download: one.recorder.replace(/[^\p{L}\p{N}._-]+/gu, "_") + "_" + time + ".wav" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const tagAt = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));

// The samples of a WAV file as they are, with a header of their own; nothing of other files.
async function cutWav(file, from, to) {
  const view = new DataView(await file.slice(0, 1 << 16).arrayBuffer());
  if (view.byteLength < 44 || tagAt(view, 0) !== "RIFF" || tagAt(view, 8) !== "WAVE") return null;
  let form = null;
  for (let at = 12; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at + 4, true);
    if (tagAt(view, at) === "fmt ") form = [at, size + (size % 2)];
    if (tagAt(view, at) === "data" && form) {
      const rate = view.getUint32(form[0] + 12, true), block = view.getUint16(form[0] + 20, true);
      const byteOf = (second) => at + 8 + Math.round(second * rate) * block, end = Math.min(file.size, byteOf(to));
      const samples = file.slice(byteOf(from), end), n = end - byteOf(from);
      return n > 0 ? wavOf(view.buffer.slice(form[0], form[0] + 8 + form[1]), samples, n) : null;
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

// FLAC says its rate, ultrasound too; what else is decoded is heard, and no more.
async function rateOf(file) {
  const view = new DataView(await file.slice(0, 42).arrayBuffer());
  return view.byteLength === 42 && tagAt(view, 0) === "fLaC" ? view.getUint32(18) >>> 12 : 48000;
}

// What a browser decodes, as 16-bit WAV.
async function cutDecoded(file, from, to, expanded) {
  const rate = await rateOf(file), decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  const times = expanded ? decoded.duration / expanded : 1;
  const first = Math.round(from * times * rate), n = Math.min(decoded.length, Math.round(to * times * rate)) - first;
  const nChannels = decoded.numberOfChannels, samples = new Int16Array(n * nChannels);
  for (let channel = 0; channel < nChannels; channel++) {
    const values = decoded.getChannelData(channel);
    for (let i = 0; i < n; i++) samples[i * nChannels + channel] = Math.max(-32768, Math.min(32767, Math.round(32768 * values[first + i])));
  }
  const form = new DataView(new ArrayBuffer(24));
  [..."fmt "].forEach((letter, i) => form.setUint8(i, letter.charCodeAt(0)));
  form.setUint32(4, 16, true);
  [[8, 1], [10, nChannels], [20, 2 * nChannels], [22, 16]].forEach(([at, value]) => form.setUint16(at, value, true));
  form.setUint32(12, rate, true);
  form.setUint32(16, 2 * nChannels * rate, true);
  return wavOf(form.buffer, samples, samples.byteLength);
}

function wavOf(form, samples, n) {
  const size = (value) => new Uint32Array([value]);
  return new Blob(["RIFF", size(4 + form.byteLength + 8 + n + (n % 2)), "WAVE", form, "data", size(n), samples, ...(n % 2 ? ["\0"] : [])], { type: "audio/wav" });
}
