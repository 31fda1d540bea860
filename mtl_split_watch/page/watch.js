// The page: asks for the next message, shows it, and asks again; what the message is, mtl_split_watch/board.py says.
// Names and texts come from strangers, so they are only ever set as text.
"use strict";

const RETRY = 1000; // milliseconds until the next try to connect
const STALE = 2000; // milliseconds after which a picture is old
const LOST = 5000; // milliseconds without a message after which the connection is lost: there is one every second

const PLOTS = [
  { name: "bytes", value: (sample) => sample[1], unit: "", digits: 0 },
  { name: "latency", value: (sample) => sample[2], unit: " ms", digits: 0 },
  { name: "answers", unit: "/s", digits: 1 },
];

const LATE = "#ff4f5e";

// A colour of its own for each name, in the order in which they come.
class Colours {
  constructor(colours, fixed = []) {
    this.colours = colours;
    this.taken = new Map(fixed);
    this.next = 0;
  }

  of(name) {
    if (!this.taken.has(name)) this.taken.set(name, this.colours[this.next++ % this.colours.length]);
    return this.taken.get(name);
  }
}

const SOURCES = new Colours(["#4f8fe8", "#f2c14e", "#ef8a3c", "#b48cf2"]);
const POINTS = new Colours(["#3aa675", "#8fd16a", "#2f7f9e", "#c9d94f", "#7c6fd0", "#d58bb6"], [["nothing", "#5c656e"]]);

const STRIPS = [
  { name: "answered by", value: (answer) => answer[1], colours: SOURCES, showsLate: true },
  { name: "sent at operating point", value: (answer) => answer[2], colours: POINTS },
];

const byId = (id) => document.getElementById(id);
const cards = new Map(); // by the vehicle's name
const shown = { pictures: 0, behind: [] }; // for those who measure: how many, and milliseconds from stamp to page

class Plot {
  constructor(kind) {
    this.kind = kind;
    this.element = byId("plot").content.cloneNode(true).firstElementChild;
    this.element.querySelector("span").textContent = kind.name;
    this.output = this.element.querySelector("output");
    this.canvas = this.element.querySelector("canvas");
  }

  // points: [seconds ago, value] pairs, the oldest first.
  draw(points, history) {
    const { canvas, kind } = this;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    const line = scale;
    const small = 11 * scale;
    const bottom = height - 1.4 * small;
    const top = small;
    const most = round(Math.max(1, ...points.map((point) => point[1])));
    const x = (ago) => width * (1 - ago / history);
    const y = (value) => bottom - ((bottom - top) * value) / most;
    context.clearRect(0, 0, width, height);
    context.font = `${small}px system-ui, sans-serif`;
    context.lineWidth = line;
    context.strokeStyle = "#343b42";
    context.fillStyle = "#9aa4ad";
    for (const value of [0, most / 2, most]) {
      context.beginPath();
      context.moveTo(0, y(value));
      context.lineTo(width, y(value));
      context.stroke();
    }
    context.textAlign = "left";
    context.fillText(most.toLocaleString("en"), 0, y(most) - 2 * scale);
    context.fillText(`${history} s ago`, 0, height - 2 * scale);
    context.textAlign = "right";
    context.fillText("now", width, height - 2 * scale);
    context.strokeStyle = "#6cb6ff";
    context.lineWidth = 1.5 * scale;
    context.beginPath();
    let before = Infinity;
    for (const [ago, value] of points) {
      // No line through a pause.
      if (before - ago > 2) context.moveTo(x(ago), y(value));
      else context.lineTo(x(ago), y(value));
      before = ago;
    }
    context.stroke();
    const last = points.at(-1);
    this.output.textContent = last ? `${last[1].toLocaleString("en", { maximumFractionDigits: kind.digits })}${kind.unit}` : "–";
  }
}

// Who answered, or what was chosen, over time: a coloured strip with each one's share below it.
class Strip {
  constructor(kind) {
    this.kind = kind;
    this.element = byId("strip").content.cloneNode(true).firstElementChild;
    this.element.querySelector("figcaption").textContent = `${kind.name}, the last minute`;
    this.element.hidden = true;
    this.canvas = this.element.querySelector("canvas");
    this.list = this.element.querySelector("ul");
  }

  // answered: [time, source, operating point, late], the oldest first.
  draw(answered, now, history) {
    this.element.hidden = !answered.length;
    if (!answered.length) return;
    const { canvas, kind } = this;
    const scale = window.devicePixelRatio || 1;
    const width = (canvas.width = Math.round(canvas.clientWidth * scale));
    const height = (canvas.height = Math.round(canvas.clientHeight * scale));
    const context = canvas.getContext("2d");
    const x = (time) => Math.round(width * (1 - (now - time) / history));
    const counts = new Map();
    answered.forEach((answer, index) => {
      const name = kind.value(answer);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      // No colour over a pause.
      const end = Math.min(answered[index + 1]?.[0] ?? now, answer[0] + 1);
      context.fillStyle = kind.colours.of(name);
      context.fillRect(x(answer[0]), 0, Math.max(scale, x(end) - x(answer[0])), height);
    });
    const late = kind.showsLate ? answered.filter((answer) => answer[3]) : [];
    context.fillStyle = LATE;
    for (const answer of late) context.fillRect(x(answer[0]), height / 2, 2 * scale, height / 2);
    const shares = [...counts].sort().map(([name, count]) => [name, count, kind.colours.of(name)]);
    if (kind.showsLate) shares.push(["late", late.length, LATE]);
    this.list.replaceChildren(
      ...shares.map(([name, count, colour]) => {
        const item = document.createElement("li");
        item.style.setProperty("--swatch", colour);
        item.textContent = `${name} ${((100 * count) / answered.length).toFixed(1)} %`;
        return item;
      }),
    );
  }
}

// The next larger 1, 2 or 5 times a power of ten.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((rounded) => rounded >= value);
}

class Card {
  constructor(name) {
    this.element = byId("vehicle").content.cloneNode(true).firstElementChild;
    this.element.querySelector("h2").textContent = name;
    this.words = this.element.querySelector(".words");
    this.image = this.element.querySelector("img");
    this.image.alt = `What ${name} sees`;
    this.caption = this.element.querySelector("figcaption");
    this.answers = this.element.querySelector(".answers");
    this.plots = PLOTS.map((kind) => new Plot(kind));
    this.element.querySelector(".plots").append(...this.plots.map((plot) => plot.element));
    this.strips = STRIPS.map((kind) => new Strip(kind));
    this.element.querySelector(".strips").append(...this.strips.map((strip) => strip.element));
    this.samples = [];
    this.answered = []; // by an edge with a deadline
    this.times = []; // when the last pictures were shown
    this.age = null;
    byId("vehicles").append(this.element);
  }

  async show(picture, jpeg) {
    const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
    const before = this.image.src;
    this.image.src = url;
    try {
      await this.image.decode();
    } catch {
      // It was replaced while the page was hidden.
    }
    if (before) URL.revokeObjectURL(before);
    this.times = [...this.times.slice(-19), performance.now()];
    this.age = picture.age;
    this.answers.replaceChildren(
      ...Object.entries(picture.answers).map(([task, words]) => {
        const pair = document.createElement("div");
        const name = document.createElement("dt");
        const value = document.createElement("dd");
        name.textContent = task;
        value.textContent = words;
        pair.append(name, value);
        return pair;
      }),
    );
  }

  // Says how fresh the picture is.
  tell() {
    const silent = performance.now() - (this.times.at(-1) ?? 0);
    const first = this.times[0];
    this.element.classList.toggle("stale", this.times.length > 0 && silent > STALE);
    if (!this.times.length) this.caption.textContent = "no picture yet";
    else if (silent > STALE) this.caption.textContent = `the last picture came ${Math.round(silent / 1000)} s ago`;
    else {
      const rate = ((this.times.length - 1) * 1000) / Math.max(1, performance.now() - first);
      const age = this.age === null ? "" : `, ${Math.round(this.age)} ms behind`;
      this.caption.textContent = `${rate.toFixed(1)} pictures/s${age}`;
    }
  }

  take(vehicle) {
    this.samples.push(...vehicle.samples);
    this.answered.push(...vehicle.answered);
  }

  plot(now, history) {
    this.samples = this.samples.filter((sample) => sample[0] > now - history);
    this.answered = this.answered.filter((answer) => answer[0] > now - history);
    for (const strip of this.strips) strip.draw(this.answered, now, history);
    for (const plot of this.plots) {
      const { value } = plot.kind;
      const points = value
        ? this.samples.filter((sample) => value(sample) !== null).map((sample) => [now - sample[0], value(sample)])
        : this.rates(now, history);
      plot.draw(points, history);
    }
  }

  // Answers in each of the last whole seconds, from the first that is known on.
  rates(now, history) {
    const first = this.samples.length ? Math.floor(now - this.samples[0][0]) : 0;
    const counts = new Array(Math.min(first, history)).fill(0);
    for (const sample of this.samples) {
      const second = Math.floor(now - sample[0]);
      if (second >= 0 && second < counts.length) counts[second] += 1;
    }
    return counts.map((count, second) => [second + 0.5, count]).reverse();
  }
}

function showComplaints(complaints, well) {
  byId("well").textContent = `${well} ${well === 1 ? "status is" : "statuses are"} well${complaints.length ? ", not so:" : ""}`;
  byId("complaints").replaceChildren(
    ...complaints.map(([level, name, message]) => {
      const item = document.createElement("li");
      item.className = `level${level}`;
      const title = document.createElement("b");
      title.textContent = name;
      item.append(title, message);
      return item;
    }),
  );
}

function noVehicle(news) {
  if (news.domain === undefined) return "looking for vehicles";
  return (
    `No vehicle yet: nobody sends or awaits bottlenecks in ROS domain ${news.domain}, namespace ${news.namespace}.` +
    " Start an edge or a server there."
  );
}

let plotted = 0;

async function showNews(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const news = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const source of news.sources ?? []) SOURCES.of(source);
  const names = new Set(news.vehicles.map((vehicle) => vehicle.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.element.remove();
      cards.delete(name);
    }
  }
  byId("none").textContent = names.size ? "" : noVehicle(news);
  const now = performance.now();
  const plot = now - plotted > 250; // plots need no more than that
  if (plot) plotted = now;
  let at = 4 + length;
  const showing = [];
  for (const vehicle of news.vehicles) {
    if (!cards.has(vehicle.name)) cards.set(vehicle.name, new Card(vehicle.name));
    const card = cards.get(vehicle.name);
    card.words.textContent = vehicle.words;
    if (vehicle.picture) {
      showing.push(card.show(vehicle.picture, buffer.slice(at, at + vehicle.picture.bytes)));
      at += vehicle.picture.bytes;
      shown.pictures += 1;
    }
    card.take(vehicle);
    if (plot) card.plot(news.now, news.history);
  }
  if (news.complaints) showComplaints(news.complaints, news.well);
  await Promise.all(showing);
  for (const vehicle of news.vehicles) {
    const card = cards.get(vehicle.name);
    card?.tell();
    if (vehicle.picture) shown.behind.push(Date.now() - news.now * 1000 + vehicle.picture.age);
  }
  shown.behind = shown.behind.slice(-1000);
}

function say(state, words) {
  byId("state").className = state;
  byId("state").textContent = words;
}

// A page in a hidden tab does not ask, so that nobody looks.
function visible() {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/news`);
  socket.binaryType = "arraybuffer";
  let quiet;
  const ask = async () => {
    await visible();
    if (socket.readyState !== WebSocket.OPEN) return;
    clearTimeout(quiet);
    quiet = setTimeout(() => socket.close(), LOST);
    socket.send("next");
  };
  socket.onopen = ask;
  socket.onmessage = async (event) => {
    clearTimeout(quiet);
    say("live", "live");
    await showNews(event.data);
    ask();
  };
  socket.onclose = () => {
    clearTimeout(quiet);
    say("lost", "not connected: does the watch node run?");
    setTimeout(connect, RETRY);
  };
}

setInterval(() => cards.forEach((card) => card.tell()), 500);
connect();
