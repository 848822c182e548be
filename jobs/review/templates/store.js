// Decisions, kept by the browser under the batch's name. Each is one record that is added and never changed:
// { id, action, draw, sound, verdict, reviewer, decided_at, seconds, origin }; undo takes the last action's away.
"use strict";

const IN_MEMORY = 1e12; // numbers of records that the browser does not keep begin here
const store = { database: null, refusal: "", all: [], settings: {}, nextId: IN_MEMORY, nUnsaved: 0 };

// Where the browser keeps nothing, all is held in this page alone, and `refusal` says why.
async function openStore(batch) {
  try {
    store.database = await opened("dawnchorus review " + batch);
    await refreshStore();
  } catch (error) {
    refuseStore(error);
  }
}

function opened(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1); // throws where storage is switched off
    request.onupgradeneeded = () => {
      request.result.createObjectStore("decisions", { keyPath: "id", autoIncrement: true });
      request.result.createObjectStore("settings", { keyPath: "key" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another window holds it"));
  });
}

// Another window of the same batch may have added some.
async function refreshStore() {
  if (!store.database) return;
  const transaction = store.database.transaction(["decisions", "settings"], "readonly");
  const [decisions, settings] = await Promise.all([
    answered(transaction.objectStore("decisions").getAll()), answered(transaction.objectStore("settings").getAll()),
  ]);
  store.all = decisions;
  store.settings = Object.fromEntries(settings.map(({ key, value }) => [key, value]));
}

// Resolves once the records are on the disk: relaxed durability loses them when the browser is killed.
async function addDecisions(records) {
  if (store.database) {
    try {
      const ids = await written("decisions", (table) => records.map((record) => answered(table.add(record))));
      store.all.push(...records.map((record, i) => ({ ...record, id: ids[i] })));
      return;
    } catch (error) {
      refuseStore(error);
    }
  }
  store.all.push(...records.map((record) => ({ ...record, id: store.nextId++ })));
  store.nUnsaved += records.filter((record) => record.origin === "here").length;
}

async function removeDecisions(ids) {
  if (store.database) {
    const kept = ids.filter((id) => id < IN_MEMORY);
    await written("decisions", (table) => kept.map((id) => answered(table.delete(id)))).catch(refuseStore);
  }
  const gone = new Set(ids);
  store.all = store.all.filter((record) => !gone.has(record.id));
}

async function keepSetting(key, value) {
  store.settings[key] = value;
  if (store.database) await written("settings", (table) => [answered(table.put({ key, value }))]).catch(refuseStore);
}

function written(name, change) {
  const transaction = store.database.transaction(name, "readwrite", { durability: "strict" });
  const answers = Promise.all(change(transaction.objectStore(name)));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => answers.then(resolve, reject);
    transaction.onabort = transaction.onerror = () => reject(transaction.error || new Error("it was broken off"));
    answers.catch(reject);
  });
}

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function refuseStore(error) {
  store.refusal = String((error && error.message) || error || "no reason given");
  store.database = null;
}
