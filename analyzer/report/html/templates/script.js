// Fills, sorts, filters and searches the table of dependencies. Rows come compressed in the page itself; whatever is shown
// of them becomes a text node, never markup.
"use strict";
(async () => {
  const PRINTED = 1000;
  const MOST_CHOICES = 1000;
  const LONG_NAME = 16;
  const VERDICTS = ["depends", "unknown", "covered", "denied", "probe"];
  const IN_THE_WAY = VERDICTS.slice(0, 3);
  const SURENESS = ["certain", "strong", "weak"];
  const COLUMNS = [
    ["verdict", "Verdict"], ["site", "Site"], ["client", "Client"], ["server", "Server"], ["application", "Application"],
    ["resource", "Resource"], ["operation", "Operation"], ["identity", "Identity"], ["uses", "Uses"],
    ["last_seen", "Last seen"], ["frame", "Look at"],
  ];
  const DETAILS = [
    ["function", "What for"], ["interface", "Interface"], ["operation_class", "Kind of operation"],
    ["client_software", "Client says it is"], ["owner", "Owner"], ["note", "Note"], ["rpc_auth", "Authenticated inside RPC"],
    ["refused_at", "Refused at"], ["root_cause", "Followed"], ["shadowed_by", "Also with credentials"],
    ["shape", "The client looks like"],
  ];
  const SEARCHED = [
    "site", "client_ip", "client", "server_ip", "server", "application", "function", "client_software", "owner", "note",
    "resource", "interface", "operation", "operation_class", "identity", "reason", "evidence", "root_cause", "shadowed_by",
    "capture", "verdict", "confidence", "rhythm", "shape",
  ];
  const byId = (id) => document.getElementById(id);
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const number = new Intl.NumberFormat("en");

  const several = (count, noun) => `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  };

  // A name may go to the next line behind its dots and dashes, and between its words, but not before a short ending.
  const breakable = (text) => text.split(/(?<=[._\\/-])(?!\w{1,6}$)|(?<=[a-z])(?=[A-Z][a-z])/).flatMap((part, place) => (place ? [make("wbr"), part] : [part]));

  let data;
  try {
    data = await unpacked(byId("rows").textContent);
  } catch (problem) {
    byId("failure").textContent = typeof DecompressionStream === "undefined"
      ? "This browser is too old to unpack the table (it has no DecompressionStream). Browsers since 2023 have it; the file dependencies.csv in a result folder holds the same rows."
      : `The table could not be unpacked: ${problem}`;
    byId("failure").hidden = false;
    return;
  }

  async function unpacked(text) {
    const packed = Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const columns = data.columns;
  const textOf = (name, row) => {
    const column = columns[name];
    if (!column || !column.texts) return "";
    const code = column.codes[row];
    return code < 0 ? "" : column.texts[code];
  };
  // Times by the clocks of the analysis; a browser that does not know its time zone shows them in UTC, and says so.
  const clock = (() => {
    const format = { dateStyle: "short", timeStyle: "medium" };
    try {
      const zoned = new Intl.DateTimeFormat("sv-SE", { ...format, timeZone: data.zone });
      return { zone: data.zone, mark: "", tell: (time) => zoned.format(time) };
    } catch {
      return { zone: "UTC", mark: " UTC", tell: (time) => time.toISOString().replace("T", " ") };
    }
  })();
  const spelt = (milliseconds, seconds = false) =>
    milliseconds < 0 ? "" : clock.tell(new Date(milliseconds)).slice(0, seconds ? 19 : 16) + clock.mark;
  const baseName = (path) => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);

  // What a column is sorted by: a number for each row. Texts by their place among the column's texts; missing ones last.
  const keys = new Map();
  const LAST = Number.MAX_SAFE_INTEGER;
  function ranked(name) {
    const { texts, codes } = columns[name];
    const order = texts.map((_, code) => code).sort((one, other) => compare(texts[one], texts[other]));
    const rank = new Array(texts.length);
    order.forEach((code, place) => { rank[code] = place; });
    return codes.map((code) => (code < 0 ? LAST : rank[code]));
  }
  function placed(name, order) {
    const { texts, codes } = columns[name];
    return codes.map((code) => (code < 0 ? LAST : order.indexOf(texts[code])));
  }
  function sortKeys(name) {
    if (!keys.has(name)) {
      if (name === "verdict") keys.set(name, [placed(name, VERDICTS), placed("confidence", SURENESS)]);
      else if (name === "client" || name === "server") keys.set(name, [ranked(name), ranked(`${name}_ip`)]);
      else if (name === "frame") keys.set(name, [ranked("capture"), columns.frame.numbers]);
      else if (columns[name].texts) keys.set(name, [ranked(name)]);
      else keys.set(name, [columns[name].numbers ?? columns[name].times]);
    }
    return keys.get(name);
  }

  const shownColumns = COLUMNS.filter(([name]) => name !== "site" || columns.site.texts.some((text) => text));
  const state = { sort: null, down: false, page: 0, open: new Set(), rows: [] };

  // Filters.
  const choices = [["by-server", "server", "server_ip"], ["by-application", "application"], ["by-resource", "resource"]];
  for (const [id, name, second] of choices) {
    const found = new Map();
    for (let row = 0; row < data.length; row += 1) {
      const text = textOf(second ?? name, row);
      const label = second && textOf(name, row) ? `${textOf(name, row)} (${text})` : text || "not known";
      const known = found.get(text);
      found.set(text, { label: known?.label ?? label, rows: (known?.rows ?? 0) + 1 });
    }
    const most = [...found].sort((one, other) => other[1].rows - one[1].rows).slice(0, MOST_CHOICES);
    for (const [value, { label }] of most.sort((one, other) => compare(one[1].label, other[1].label))) {
      const option = make("option", "", label);
      option.value = `=${value}`;
      byId(id).append(option);
    }
    if (found.size > most.length) {
      const option = make("option", "", `${number.format(found.size - most.length)} more: search for them`);
      option.disabled = true;
      byId(id).append(option);
    }
  }
  // For each of some columns: its numbers, and which of its texts are wanted. Columns in which none is cannot say yes.
  function wantedIn(names, isWanted) {
    return names
      .map((name) => ({ codes: columns[name].codes, wanted: columns[name].texts.map(isWanted) }))
      .filter(({ wanted }) => wanted.includes(true));
  }
  function filtered() {
    const searched = Object.keys(columns).filter((name) => SEARCHED.includes(name) || name.startsWith("policy: "));
    const terms = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean)
      .map((term) => wantedIn(searched, (text) => text.toLowerCase().includes(term)));
    for (const [id, name, second] of choices) {
      const value = byId(id).value;
      if (value === "=") terms.push([{ codes: columns[second ?? name].codes, missing: true, wanted: [] }]);
      else if (value) terms.push(wantedIn([second ?? name], (text) => text === value.slice(1)));
    }
    const verdicts = [...document.querySelectorAll("input[name=verdict]:checked")].map((box) => box.value);
    const isVerdict = columns.verdict.texts.map((text) => verdicts.includes(text));
    const excluded = byId("excluded")?.checked ?? false;
    const fits = (row) => ({ codes, wanted, missing }) => (codes[row] < 0 ? missing : wanted[codes[row]]);
    const rows = [];
    for (let row = 0; row < data.length; row += 1) {
      if (columns.excluded.numbers[row] === 1 ? !excluded : !isVerdict[columns.verdict.codes[row]]) continue;
      const inRow = fits(row);
      if (terms.every((term) => term.some(inRow))) rows.push(row);
    }
    return rows;
  }
  function sorted(rows) {
    if (!state.sort) return rows;
    const by = sortKeys(state.sort);
    const sign = state.down ? -1 : 1;
    return rows.sort((one, other) => {
      for (const key of by) {
        if (key[one] !== key[other]) {
          if (key[one] === LAST || key[other] === LAST) return key[one] === LAST ? 1 : -1;
          return sign * (key[one] - key[other]);
        }
      }
      return one - other;
    });
  }

  // Rows.
  function verdictOf(row) {
    const name = textOf("verdict", row);
    const dot = make("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    return make("span", `verdict v-${name}`, dot, name);
  }
  // Of a long name the first part must do; what opens has all of it.
  const shortened = (text) => (text.length > LONG_NAME ? text.split(".")[0] : text);
  function hostOf(name, row) {
    const spoken = shortened(textOf(name, row));
    const address = textOf(`${name}_ip`, row);
    return spoken
      ? [make("span", "name", ...breakable(spoken)), " ", make("span", "second", address)]
      : [make("span", "name", address)];
  }
  // As a person counts: uses that follow one another are one run.
  function runsOf(row) {
    const [runs, uses] = [columns.runs.numbers[row], columns.uses.numbers[row]];
    return runs > 0 && runs < uses ? several(runs, "run") : "";
  }
  function cell(name, row) {
    switch (name) {
      case "verdict": {
        const button = make("button", "open", verdictOf(row));
        button.type = "button";
        const of = [textOf("client", row) || textOf("client_ip", row), textOf("resource", row) || "login", textOf("operation", row)];
        button.setAttribute("aria-label", `${textOf("verdict", row)}: evidence for ${of.filter(Boolean).join(", ")}`);
        button.setAttribute("aria-expanded", String(state.open.has(row)));
        if (state.open.has(row)) button.setAttribute("aria-controls", `row-${row}`);
        button.addEventListener("click", () => toggle(row));
        return make("td", "", button, " ", make("span", "second inset", textOf("confidence", row)));
      }
      case "client":
      case "server": return make("td", "", ...hostOf(name, row));
      case "application": {
        const text = textOf(name, row);
        return make("td", "", text || make("span", "muted", "not known"), " ", make("span", "second", textOf("function", row)));
      }
      case "resource": return make("td", "", make("code", "", ...breakable(textOf(name, row) || "(login)")));
      case "operation": return make("td", "", make("code", "", ...breakable(textOf(name, row))));
      case "uses": return make("td", "number", number.format(columns.uses.numbers[row]), " ", make("span", "second", runsOf(row)));
      case "identity": return make("td", "nowrap", textOf(name, row));
      case "last_seen": return make("td", "", spelt(columns.last_seen.times[row]), " ", make("span", "second", textOf("rhythm", row)));
      case "frame": return make("td", "", `frame\u00a0${columns.frame.numbers[row]} `, make("span", "second", ...breakable(baseName(textOf("capture", row)))));
      default: return make("td", "", textOf(name, row));
    }
  }
  function term(list, name, ...value) {
    list.append(make("dt", "", name), make("dd", "", ...value));
  }
  function filterOf(text) {
    const field = make("code", "filter", text);
    const copy = make("button", "copy", "Copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(field);
        copy.textContent = "Selected";
      }
    });
    return [field, " ", copy];
  }
  function details(row) {
    const list = make("dl", "terms");
    for (const [name, label] of [["client", "Client"], ["server", "Server"]]) {
      const text = textOf(name, row);
      if (text !== shortened(text)) term(list, label, `${text} (${textOf(`${name}_ip`, row)})`);
    }
    term(list, "Why", textOf("reason", row) || "no reason is given");
    const signs = textOf("evidence", row).split(/;\s*/).filter(Boolean);
    if (signs.length) term(list, "Evidence", ...signs.flatMap((sign) => [make("code", "sign", sign), " "]));
    const rate = textOf("application_confidence", row);
    if (rate) term(list, "Application", `${textOf("application", row)}, ${rate} (by ${textOf("application_source", row)})`);
    for (const [name, label] of DETAILS) if (textOf(name, row)) term(list, label, textOf(name, row));
    const counts = ["uses", "succeeded", "denied", "sessions"].map((name) => columns[name].numbers[row]);
    term(list, "Counted", `${several(counts[0], "use")} in ${several(counts[3], "session")}: ${number.format(counts[1])} worked or were not refused, ${number.format(counts[2])} refused`);
    for (const name of Object.keys(columns).filter((column) => column.startsWith("policy: "))) {
      if (textOf(name, row)) term(list, name.slice(8), textOf(name, row));
    }
    const withCredentials = columns.credentialed_sessions.numbers[row];
    if (withCredentials > 0) term(list, "Otherwise", `${several(withCredentials, "session")} of the client with credentials at that server, whatever for`);
    if (textOf("rhythm", row)) term(list, "Rhythm", `${textOf("rhythm", row)}${runsOf(row) && ` (${runsOf(row)})`}`);
    term(list, "Seen", `${spelt(columns.first_seen.times[row], true) || "?"} to ${spelt(columns.last_seen.times[row], true) || "?"} (${clock.zone}), on ${several(Math.max(0, columns.active_days.numbers[row]), "day")}`);
    term(list, "Look at", `frame ${columns.frame.numbers[row]} of `, make("code", "", textOf("capture", row)));
    const more = textOf("frames", row).split("|").slice(1);
    if (more.length) term(list, "And at", ...more.flatMap((place) => [make("code", "sign", place), " "]));
    // Of many rows only the first have one made for them; the frame alone finds the packet, too.
    const itsFrame = columns.frame.numbers[row];
    const itsFilter = textOf("display_filter", row) || (itsFrame > 0 ? `frame.number == ${itsFrame}` : "");
    if (itsFilter) term(list, "Display filter", ...filterOf(itsFilter));
    const inside = make("td", "", list);
    inside.colSpan = shownColumns.length;
    const line = make("tr", "details", inside);
    line.id = `row-${row}`;
    return line;
  }
  function toggle(row) {
    if (!state.open.delete(row)) state.open.add(row);
    draw(Number(byId("size").value));
    document.querySelector(`#body tr[data-row="${row}"] button`)?.focus();
  }

  function draw(size) {
    const rows = state.rows;
    const pages = Math.max(1, Math.ceil(rows.length / size));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * size;
    const part = rows.slice(first, first + size);
    const body = document.createDocumentFragment();
    for (const row of part) {
      const line = make("tr", columns.excluded.numbers[row] === 1 ? "excluded" : "");
      line.dataset.row = row;
      for (const [name] of shownColumns) {
        const made = cell(name, row);
        made.classList.add(`c-${name}`);
        line.append(made);
      }
      body.append(line);
      if (state.open.has(row)) body.append(details(row));
    }
    byId("body").replaceChildren(body);
    const range = part.length ? `Rows ${number.format(first + 1)} to ${number.format(first + part.length)} of ` : "";
    byId("status").textContent = `${range}${number.format(rows.length)} that fit, of ${number.format(data.length)} in this page.`;
    byId("page").textContent = `Page ${number.format(state.page + 1)} of ${number.format(pages)}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
  }
  function renew() {
    state.page = 0;
    state.rows = sorted(filtered());
    draw(Number(byId("size").value));
  }

  // Titles.
  const titles = shownColumns.map(([name, label]) => {
    const button = make("button", "", label);
    button.type = "button";
    const title = make("th", name === "uses" ? "number" : "", button);
    title.scope = "col";
    title.dataset.column = name;
    title.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      state.down = state.sort === name ? !state.down : name === "uses" || name === "last_seen";
      state.sort = name;
      for (const other of titles) other.setAttribute("aria-sort", "none");
      title.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      renew();
    });
    return title;
  });
  byId("titles").append(...titles);

  let waiting;
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(renew, 120);
  });
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".controls").addEventListener("change", renew);
  const turn = (by) => {
    state.page += by;
    draw(Number(byId("size").value));
    byId("table").scrollIntoView();
  };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  const refused = byId("show-refused");
  if (refused) {
    refused.hidden = false;
    refused.addEventListener("click", () => {
      for (const box of document.querySelectorAll("input[name=verdict]")) box.checked = !IN_THE_WAY.includes(box.value);
      renew();
      byId("dependencies").scrollIntoView();
    });
  }
  addEventListener("beforeprint", () => {
    for (const more of document.querySelectorAll("details")) more.open = true;
    state.page = 0;
    draw(PRINTED);
  });
  addEventListener("afterprint", () => draw(Number(byId("size").value)));
  byId("tool").hidden = false;
  renew();
})();
