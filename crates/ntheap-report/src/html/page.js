"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
// Text is only ever set as text.
const el = (name, props, ...children) => {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(props || {})) k in e ? e[k] = v : e.setAttribute(k, v);
  e.append(...children);
  return e;
};
const svg = (name, attrs, text) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};
const bytes = n => {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let v = Math.abs(n), u = 0;
  while (v >= 1024 && u < 4) { v /= 1024; u++; }
  return (n < 0 ? "-" : "") + (u ? v.toFixed(1) : v) + " " + units[u];
};
const signed = n => (n > 0 ? "+" : "") + n.toLocaleString("en-US");
const plain = n => n.toLocaleString("en-US");

$("title").textContent = (data.program || "Heap") + ": heap growth";
document.title = $("title").textContent;
$("process").textContent = data.process + (data.dumps.length ? ", " + data.dumps[0].time + " to " + data.dumps[data.dumps.length - 1].time + " UTC" : "");
for (const line of data.verdict) $("verdict").append(el("li", {className: /^(Leak|Not the heap|Fragmented)/.test(line) ? "high" : "", textContent: line}));
$("sure").textContent = data.sure.length ? "Not sure, as this could not be read: " + data.sure.join("; ") : "Sure: every byte of every heap was read.";

const suspects = data.judgement.suspects;
if (!suspects.length) $("suspects").append(el("p", {textContent: "None."}));
suspects.forEach((s, i) => {
  const dl = el("dl");
  const row = (k, v) => { if (v) dl.append(el("dt", {textContent: k}), el("dd", {textContent: v})); };
  row("how sure", s.confidence);
  row("why", s.reasons.join(", "));
  row("growth", signed(s.delta_bytes) + " bytes, " + signed(s.delta_blocks) + " blocks" + (s.bytes_per_hour > 0 ? ", " + bytes(s.bytes_per_hour) + "/h" : ""));
  row("in each dump", s.counts.map(c => plain(c.blocks)).join(" → ") + " blocks");
  row("steadiness", s.steadiness === null ? "" : s.steadiness.toFixed(2));
  row("sizes", s.sizes.map(z => "0x" + z.size.toString(16)).slice(0, 8).join(", "));
  row("type", s.type);
  row("lost", s.lost ? plain(s.lost.lost.blocks) + " of " + plain(s.lost.of.blocks) : "");
  row("owner", s.holder ? s.holder.text : "");
  row("from", s.frames.join(" < "));
  $("suspects").append(el("article", {className: "card"}, el("h3", {textContent: (i + 1) + ". " + (s.frames[0] || "heap " + s.heap)}), dl));
});

// Private bytes by kind: stacked areas over the dumps' times.
(() => {
  const W = 900, H = 240, L = 80, R = 150, T = 10, B = 30, colours = ["#2f6db5", "#d1772e", "#4f9d5d", "#b8417d", "#7a4fb0", "#8a7a2c", "#4aa3a8", "#888"];
  const d = data.dumps, n = d.length;
  if (!n) return;
  const total = d.map(x => x.private.reduce((a, b) => a + b, 0)), max = Math.max(1, ...total);
  const t0 = d[0].timestamp, t1 = d[n - 1].timestamp;
  const even = d.every((x, i) => i === 0 || x.timestamp > d[i - 1].timestamp);
  const x = i => L + (W - L - R) * (n < 2 ? 0 : even ? (d[i].timestamp - t0) / (t1 - t0) : i / (n - 1));
  const y = v => T + (H - T - B) * (1 - v / max);
  const s = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "private bytes by kind over time"});
  for (let g = 0; g <= 4; g++) {
    const v = max * g / 4;
    s.append(svg("line", {x1: L, x2: W - R, y1: y(v), y2: y(v), stroke: "var(--line)"}), svg("text", {x: L - 6, y: y(v) + 4, "text-anchor": "end"}, bytes(v)));
  }
  const base = new Array(n).fill(0);
  data.classes.forEach((name, c) => {
    const top = d.map((m, i) => base[i] + m.private[c]);
    const points = [...top.map((v, i) => `${x(i)},${y(v)}`), ...base.map((v, i) => `${x(i)},${y(v)}`).reverse()];
    const p = svg("polygon", {points: points.join(" "), fill: colours[c % 8], "fill-opacity": .85});
    p.append(svg("title", {}, `${name}: ${d.map(m => bytes(m.private[c])).join(", ")}`));
    s.append(p, svg("rect", {x: W - R + 12, y: T + c * 20, width: 12, height: 12, fill: colours[c % 8]}), svg("text", {x: W - R + 30, y: T + c * 20 + 10}, name));
    top.forEach((v, i) => base[i] = v);
  });
  d.forEach((m, i) => { if (n <= 8 || i === 0 || i === n - 1) s.append(svg("text", {x: x(i), y: H - 8, "text-anchor": i === 0 ? "start" : i === n - 1 ? "end" : "middle"}, m.time.slice(11))); });
  $("time").append(s);
})();

// Tables that sort by a click on a title and are searched as one types.
function table(place, name, columns, rows, more) {
  const STEP = 50;
  let sorted = -1, down = true, shown = STEP, filter = "";
  const search = el("input", {type: "search", autocomplete: "off", "aria-label": "search " + name});
  const count = el("span", {className: "hint"});
  const head = el("tr"), body = el("tbody");
  const button = el("button", {type: "button", textContent: "more", className: "more"});
  columns.forEach((c, i) => {
    const b = el("button", {type: "button", textContent: c.title});
    const th = el("th", {className: c.text ? "t" : "", scope: "col"}, b);
    b.addEventListener("click", () => {
      down = sorted === i ? !down : !c.text;
      sorted = i;
      [...head.children].forEach(t => t.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      draw();
    });
    head.append(th);
  });
  const draw = () => {
    let list = filter ? rows.filter(r => columns.some(c => String(c.show ? c.show(r[c.key], r) : r[c.key]).toLowerCase().includes(filter))) : rows.slice();
    if (sorted >= 0) {
      const k = columns[sorted].key, sign = down ? -1 : 1;
      list.sort((a, b) => {
        const p = a[k] ?? -1, q = b[k] ?? -1;
        return sign * (typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q), "en", {numeric: true}));
      });
    }
    body.replaceChildren(...list.slice(0, shown).map(r => el("tr", {}, ...columns.map(c => {
      const v = r[c.key];
      const td = el("td", {className: (c.text ? "t " : "") + (c.delta ? v > 0 ? "up" : v < 0 ? "down" : "" : ""), textContent: c.show ? c.show(v, r) : v ?? ""});
      return td;
    }))));
    count.textContent = `${Math.min(shown, list.length)} of ${list.length}` + (more ? `, ${more} smaller ones left out` : "");
    button.hidden = shown >= list.length;
  };
  search.addEventListener("input", () => { filter = search.value.toLowerCase(); shown = STEP; draw(); });
  button.addEventListener("click", () => { shown += 200; draw(); });
  place.append(el("p", {className: "tools"}, el("label", {}, "find ", search), count), el("div", {className: "scroll"}, el("table", {}, el("thead", {}, head), body)), button);
  draw();
}
const number = (key, title) => ({key, title, show: plain});
const delta = (key, title) => ({key, title, show: signed, delta: true});
table($("heaps"), "heaps", [{key: "heap", title: "heap", text: true}, number("before", "bytes before"), number("after", "after"), delta("delta", "growth"), number("blocks", "blocks"), delta("delta_blocks", "growth"), number("committed", "committed"), number("free", "free"), number("largest_free", "largest free"), {key: "status", title: "", text: true}], data.heaps, 0);
table($("types"), "types", [{key: "name", title: "type", text: true}, number("before", "bytes before"), number("after", "after"), delta("delta", "growth"), number("blocks", "blocks"), delta("delta_blocks", "growth")], data.types, data.folded[1]);
const series = data.dumps.length > 2;
table($("sizes"), "sizes", [{key: "heap", title: "heap", text: true}, {key: "size", title: "size", show: v => "0x" + v.toString(16)}, number("before", "bytes before"), number("after", "after"), delta("delta", "growth"), number("blocks", "blocks"), delta("delta_blocks", "growth"), ...(series ? [{key: "steadiness", title: "steadiness", show: v => v === null ? "" : v.toFixed(2)}, {key: "course", title: "course", text: true}, {key: "counts", title: "blocks in each dump", text: true, show: v => v.join(" ")}] : [])], data.sizes, data.folded[0]);

// The flame graph: outermost frame on top, width by what the mode counts.
(() => {
  const nodes = data.flame.nodes.map(([depth, name, b, a, nb, na]) => ({depth, name: data.flame.names[name], b, a, nb, na, children: [], parent: null}));
  const path = [];
  for (const n of nodes) {
    path.length = n.depth;
    n.parent = path[n.depth - 1] || null;
    if (n.parent) n.parent.children.push(n);
    path.push(n);
  }
  const root = nodes[0], box = $("flame"), info = $("flame-info"), ROW = 20;
  let focus = root, mode = "growth", find = "";
  const growth = n => mode === "blocks" ? n.na - n.nb : n.a - n.b;
  const own = new Map();
  // What grew in some places and shrank in others has the width of both.
  const measure = () => {
    own.clear();
    for (let i = nodes.length - 1; i >= 0; i--) {
      const n = nodes[i], kids = n.children.reduce((s, c) => s + own.get(c), 0);
      const rest = mode === "after" ? n.a : Math.abs(growth(n));
      own.set(n, Math.max(rest, kids));
    }
  };
  const describe = n => `${n.name}: ${signed(n.a - n.b)} bytes (${plain(n.b)} → ${plain(n.a)}), ${signed(n.na - n.nb)} blocks (${plain(n.nb)} → ${plain(n.na)})`;
  const colour = n => {
    const g = n.a - n.b, part = Math.min(1, Math.abs(g) / Math.max(1, n.a, n.b));
    if (g === 0) return "hsl(40 15% 82%)";
    return g > 0 ? `hsl(8 ${40 + 45 * part}% ${84 - 16 * part}%)` : `hsl(212 ${40 + 40 * part}% ${84 - 14 * part}%)`;
  };
  const draw = () => {
    const width = box.clientWidth || 800, made = [];
    let deep = 0;
    const put = (n, x, w, level) => {
      if (w < 1.5) return;
      deep = Math.max(deep, level);
      const b = el("button", {type: "button", title: describe(n), textContent: w > 24 ? n.name : ""});
      b.style.cssText = `left:${x}px;top:${level * ROW}px;width:${w}px;background:${colour(n)}`;
      b.setAttribute("aria-label", describe(n));
      if (find && n.name.toLowerCase().includes(find)) b.className = "hit";
      b.addEventListener("click", () => { focus = n; info.textContent = describe(n); draw(); const first = box.querySelector(`[data-focus]`); if (first) first.focus({preventScroll: true}); });
      b.addEventListener("focus", () => info.textContent = describe(n));
      if (n === focus) b.dataset.focus = "";
      made.push(b);
    };
    const above = [];
    for (let n = focus.parent; n; n = n.parent) above.unshift(n);
    above.forEach((n, i) => put(n, 0, width, i));
    const todo = [[focus, 0, width, above.length]];
    while (todo.length) {
      const [n, x, w, level] = todo.pop();
      put(n, x, w, level);
      if (w < 1.5 || !own.get(n)) continue;
      let at = x;
      for (const c of [...n.children].sort((p, q) => own.get(q) - own.get(p))) {
        const cw = w * own.get(c) / own.get(n);
        todo.push([c, at, cw, level + 1]);
        at += cw;
      }
    }
    box.replaceChildren(...made);
    box.style.height = (deep + 1) * ROW + "px";
  };
  document.querySelectorAll("input[name=mode]").forEach(r => r.addEventListener("change", () => { mode = r.value; measure(); draw(); }));
  $("find").addEventListener("input", e => { find = e.target.value.toLowerCase(); draw(); });
  $("reset").addEventListener("click", () => { focus = root; info.textContent = ""; draw(); });
  document.addEventListener("keydown", e => { if (e.key === "Escape") { focus = root; draw(); } });
  addEventListener("resize", draw);
  addEventListener("beforeprint", draw);
  measure();
  draw();
})();

// Strips: a cell's column shares its height among what lies in it.
(() => {
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const colours = ["--busy", "--lfh", "--free", "--unc"].map(v => style.getPropertyValue(v).trim());
    document.querySelectorAll(".strip canvas").forEach((canvas, i) => {
      const cells = data.strips[i].cells, g = canvas.getContext("2d");
      canvas.width = cells.length; canvas.height = 51;
      cells.forEach((cell, x) => {
        let y = 51;
        cell.forEach((part, k) => { const h = part / 5; g.fillStyle = colours[k]; g.fillRect(x, y - h, 1, h); y -= h; });
      });
    });
  };
  let heap = null;
  for (const s of data.strips) {
    const label = `heap ${s.heap}, ${s.start}: ${bytes(s.size)}, ${bytes(s.busy_bytes)} in use, ${bytes(s.free_bytes)} free`;
    $("strips").append(el("div", {className: "strip"}, el("div", {className: "hint", textContent: label}), el("canvas", {role: "img", "aria-label": label})));
    heap = s.heap;
  }
  if (heap === null) $("strips").append(el("p", {textContent: "The dump does not describe its regions."}));
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
})();
