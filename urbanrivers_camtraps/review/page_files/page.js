// The page: shows one photograph after the other, and moves on only when the server has the answer on its disk.
// Labels, reasons and aliases come from others: they are set as text, never as HTML.
import { Wall } from './wall.js'

const $ = id => document.getElementById(id)
const PREFIX = `camtraps ${location.pathname} `, AHEAD = 4, WAIT = 4000
const BOXES = ['left', 'top', 'right', 'bottom']
let items = [], passed, reviewer, settings, looking = null, boxes = true, refilling = null
let chosen = {}, number = null, begun = [], oneFrame = false, wall = null  // of bursts: the filter, what is begun, whether one frame is meant
let light = 0, contrast = false, zoom = { scale: 1, x: 0, y: 0 }
const answered = new Set(), preloaded = new Map(), keys = new Map()

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag)
  if (text !== undefined) element.textContent = text
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}

function withKey(button, key) {
  if (key) button.append(make('kbd', key))
  return button
}

const state = value => value ? $('review').dataset.state = value : $('review').dataset.state
const say = text => { $('status').textContent = text }

function trouble(text) {
  $('trouble').hidden = !text
  $('trouble').textContent = text ?? ''
}

// ── what the browser remembers, beside the server ───────────────────────────────────────────────────────────────────
function keep(name, value) {
  try { localStorage.setItem(PREFIX + name, JSON.stringify(value)) } catch { /* full or forbidden: the server has what counts */ }
}

function kept(name) {
  try { return JSON.parse(localStorage.getItem(PREFIX + name)) } catch { return null }
}

function forget(name) {
  try { localStorage.removeItem(PREFIX + name) } catch { /* it was never kept */ }
}

const page = kept('page') ?? crypto.randomUUID()
keep('page', page)

// ── talking to the server ───────────────────────────────────────────────────────────────────────────────────────────
// What the server cannot store or does not hear is sent again, with the same token, until it says ok: never lost, never twice.
async function post(path, body) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 5000)) {
    let answer, said
    try {
      answer = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
      said = await answer.json()
      if (answer.ok) { trouble(''); return said }
    } catch { /* cut, or no JSON: below */ }
    if (answer && answer.status >= 400 && answer.status < 500) throw new Error(said?.message ?? `The server refused (${answer.status})`)
    const why = said?.message ?? (answer && !answer.ok ? `The server failed (${answer.status})` : 'The server cannot be reached: is camtraps review running?')
    trouble(`${path.startsWith('answer') ? 'Not saved yet' : 'Waiting'}. ${why} Trying again …`)
    await new Promise(resolve => setTimeout(resolve, wait))
  }
}

async function sendKept() {
  let names = []
  try { names = Object.keys(localStorage).filter(o => /^answers? /.test(o.startsWith(PREFIX) ? o.slice(PREFIX.length) : '')).map(o => o.slice(PREFIX.length)) } catch { /* forbidden */ }
  for (const name of names) {
    try { await post(name.split(' ')[0], kept(name)) } catch (error) { trouble(error.message) }
    forget(name)
  }
}

function count(progress) {
  $('progress').max = progress.total
  $('progress').value = progress.done
  const changed = progress.changed === null ? '' : ` · ${progress.changed} ${settings.kind === 'season' ? 'not as the model says' : 'changed'}`
  $('counted').textContent = `${progress.done} of ${progress.total}${changed}`
}

// One request at a time; photographs that came with an earlier one, or were answered meanwhile, are left out.
async function refill() {
  while (refilling) await refilling
  const asker = reviewer, filter = chosen
  refilling = post('next', { reviewer, page, have: items.map(o => o.media_id), passed, chosen })
  let said
  try { said = await refilling } finally { refilling = null }
  if (asker !== reviewer || filter !== chosen) return refill()
  count(said.progress)
  for (const item of said.items) {
    if (items.some(o => o.media_id === item.media_id) || answered.has(item.media_id)) continue
    items.push(item)
    preload(item.media_id)
  }
  return said
}

const address = (media, size) => `photograph?${new URLSearchParams({ of: media, ...size && { [size]: 1 } })}`

function preload(media) {
  if (preloaded.has(media)) return
  const image = new Image()
  image.src = address(media)
  preloaded.set(media, image)
  if (preloaded.size > 40) preloaded.delete(preloaded.keys().next().value)
}

// ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async function onward() {
  state('loading')
  let said = null
  while (!items.length) {
    said = await refill()
    if (items.length) break
    if (!ended(said)) return
    await new Promise(resolve => setTimeout(resolve, WAIT))
    if (state() !== 'waiting') return
  }
  show()
  if (items.length < AHEAD && !said) refill().catch(error => trouble(error.message))
}

// Say that there is nothing to do; whether to ask again, because others hold the rest.
function ended({ waiting, progress }) {
  state(waiting ? 'waiting' : 'done')
  $('review').hidden = true
  $('end').hidden = false
  $('end-title').textContent = waiting ? 'Others are looking at the last ones' : 'Nothing is left to review'
  $('end-text').textContent = waiting
    ? `${waiting} photographs are with other reviewers. They come here if they are not answered within some minutes.`
    : progress.changed === null ? `${progress.done} of ${progress.total} bursts are reviewed. The next camtraps survey --sample takes them in.`
      : `${progress.done} of ${progress.total} photographs are reviewed, and the label of ${progress.changed} changed. The next camtraps clean takes them in.`
  if (settings.kind === 'season') $('end-text').textContent = waiting ? $('end-text').textContent.replace('photographs', 'bursts')
    : `${progress.done} of ${progress.total} bursts are reviewed. camtraps survey, events and package count what you said.`
  $('all-again').hidden = waiting || !filtered()
  return waiting > 0
}

const filtered = () => Object.values(chosen).some(o => o !== null && o !== undefined)
const byBurst = () => settings.kind !== 'photographs'
const nameOf = label => settings.classes.find(o => o.label === label)?.name ?? label

function mark(button, label) {
  button.classList.toggle('named', label !== undefined)
  if (label !== undefined) button.dataset.said = nameOf(label)
}

function show() {
  const item = items[0]
  $('review').hidden = false
  $('end').hidden = true
  $('review').dataset.media = item.media_id
  $('other').hidden = true
  $('reason').textContent = item.reason
  $('said').hidden = !item.opinions.some(o => o.label)  // nothing leads the eye in a sample by chance
  $('opinions').replaceChildren(...item.opinions.filter(o => o.label).map(opinion))
  $('toggle').hidden = !item.boxes.length
  $('strip').replaceChildren(...item.burst.map(thumbnail))
  $('strip').hidden = item.burst.length < 2
  if (byBurst()) {
    number = null
    begun = []
    oneFrame = false
    showBegun()
    $('one-frame').hidden = item.burst.length < 2
    $('event').hidden = item.event === null && !chosen.event
    if (settings.alike) showNear(item).catch(error => trouble(error.message))
  }
  look(item.media_id)
}

// What is begun of an answer on a burst: how many, and which other species.
function showBegun() {
  const item = items[0], others = begun.map(o => o.count ? `${o.name} × ${o.count}` : o.name)
  $('number').textContent = number ?? 'not counted'
  $('begun').hidden = !begun.length && !adding
  $('begun').textContent = adding && !begun.length ? 'The next key names one of several.' : `${others.join(', ')} and ${adding ? 'one of several …' : '…'}`
  $('another').setAttribute('aria-pressed', adding)
  $('one-frame').setAttribute('aria-pressed', oneFrame)
  $('review').classList.toggle('single', oneFrame)
  $('what').textContent = oneFrame ? 'What is on this frame?' : item?.burst.length > 1 ? `What is on these ${item.burst.length} frames?` : 'What is it?'
}

let adding = false
function addAnother() {
  if (state() !== 'ready') return
  adding = !adding
  showBegun()
}

function countUp(by) {
  if (state() !== 'ready') return
  number = Math.max(0, (number ?? (by > 0 ? 1 : 2)) + by) || null
  showBegun()
}

function clearBegun() {
  number = null
  begun = []
  adding = false
  showBegun()
}

function toggleFrame() {
  if (state() !== 'ready' || items[0].burst.length < 2) return
  oneFrame = !oneFrame
  showBegun()
  caption()
}

// Bursts that look alike, beside the one that is asked about; only if the server knows their features.
async function showNear(item) {
  $('near').hidden = true
  const { items: near } = await post('alike', { reviewer, media_id: item.media_id })
  if (items[0] !== item || near.length < 2) return
  $('near').hidden = false
  $('near-ones').replaceChildren(...near.slice(1, 9).map(one => {
    const button = make('button', undefined, { type: 'button', title: [one.deployment, one.burst[0]?.time].filter(Boolean).join(' · '), 'aria-label': 'A burst that looks alike' })
    button.append(make('img', undefined, { src: address(one.media_id, 'small'), alt: '', loading: 'lazy' }))
    button.addEventListener('click', () => wall.closer(one.media_id))
    return button
  }))
}

function opinion({ who, label, name, detail, key }) {
  const card = make('button', undefined, { type: 'button' })
  card.append(make('small', who), make('b', name))
  if (detail) card.append(make('small', detail))
  card.addEventListener('click', () => answer(label, name))
  return withKey(card, key)
}

function thumbnail({ media_id: media, time }) {
  const button = make('button', undefined, { type: 'button', 'aria-label': `Photograph of ${time || 'the burst'}`, title: time })
  const image = make('img', undefined, { src: address(media, 'small'), alt: '', loading: 'lazy' })
  image.addEventListener('error', () => { image.style.visibility = 'hidden' })
  button.append(image)
  button.dataset.media = media
  button.classList.toggle('asked', media === items[0].media_id)
  mark(button, items[0].own?.frames[media])
  button.addEventListener('click', () => look(media))
  return button
}

// Look at the photograph that is asked about, or at another one of its burst; keys count once it can be seen.
function look(media) {
  if (!['ready', 'loading'].includes(state())) return
  looking = media
  state('loading')
  resetZoom()
  $('boxes').replaceChildren()
  $('broken').hidden = true
  const image = $('photograph'), seen = () => { if (looking === media && state() === 'loading') state('ready') }
  image.onload = () => { $('frame').hidden = false; seen(); if (looking === media) drawBoxes() }
  image.onerror = async () => {
    const said = await fetch(image.src).then(o => o.text(), () => 'The server cannot be reached')
    if (looking !== media) return
    $('broken').textContent = `This photograph cannot be shown: ${said}`
    $('broken').hidden = false
    $('frame').hidden = true
    seen()
  }
  image.src = address(media)
  caption()
  for (const button of $('strip').children) {
    button.setAttribute('aria-current', button.dataset.media === media)
    if (button.dataset.media === media) button.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }
}

function caption() {
  const item = items[0], asked = looking === item.media_id
  const place = item.burst.findIndex(o => o.media_id === looking), time = item.burst[place]?.time ?? ''
  const about = [item.deployment, time].filter(Boolean).join(' · ')
  $('caption').classList.toggle('elsewhere', byBurst() ? oneFrame : !asked)
  if (byBurst()) {
    const frame = item.burst.length > 1 ? `frame ${place + 1} of ${item.burst.length}` : ''
    $('caption').textContent = [about, frame, oneFrame ? 'your answer is for this frame alone' : ''].filter(Boolean).join(' · ')
  } else $('caption').textContent = asked ? about
    : `${time} · another photograph of the burst: your answer is for the one with the thick frame`
}

// ── zoom and light ──────────────────────────────────────────────────────────────────────────────────────────────────
function setZoom(scale, x, y) {  // x, y: the point of the frame that stays where it is, in pixels
  const to = Math.min(12, Math.max(1, scale)), by = to / zoom.scale, frame = $('frame').getBoundingClientRect()
  const keepIn = (o, side) => Math.min(0, Math.max(side * (1 - to), o))
  zoom = { scale: to, x: keepIn(x - by * (x - zoom.x), frame.width), y: keepIn(y - by * (y - zoom.y), frame.height) }
  $('zoomed').style.transform = to === 1 ? '' : `translate(${zoom.x}px, ${zoom.y}px) scale(${to})`
  $('zoomed').classList.toggle('in', to > 1)
  $('zoom').setAttribute('aria-pressed', to > 1)
}

function resetZoom() {
  zoom = { scale: 1, x: 0, y: 0 }
  setZoom(1, 0, 0)
}

let pointer = null
function toggleZoom() {
  const frame = $('frame').getBoundingClientRect(), at = pointer ?? { x: frame.width / 2, y: frame.height / 2 }
  zoom.scale > 1 ? resetZoom() : setZoom(3, at.x, at.y)
}

function watchZoom() {
  const place = event => { const frame = $('frame').getBoundingClientRect(); return { x: event.clientX - frame.left, y: event.clientY - frame.top } }
  $('frame').addEventListener('wheel', event => {
    event.preventDefault()
    const at = place(event)
    setZoom(zoom.scale * 1.25 ** -Math.sign(event.deltaY), at.x, at.y)
  }, { passive: false })
  $('frame').addEventListener('dblclick', event => { pointer = place(event); toggleZoom() })
  $('frame').addEventListener('pointerleave', () => { pointer = null })
  $('frame').addEventListener('pointermove', event => {
    const before = pointer
    pointer = place(event)
    if (!before || !event.buttons || zoom.scale === 1) return
    zoom = { ...zoom, x: zoom.x + pointer.x - before.x, y: zoom.y + pointer.y - before.y }
    setZoom(zoom.scale, pointer.x, pointer.y)
  })
  $('photograph').draggable = false
}

function setLight() {
  $('photograph').style.filter = light || contrast ? `brightness(${[1, 1.6, 2.4, 3.5][light]}) contrast(${contrast ? 1.7 : 1})` : ''
  $('light').setAttribute('aria-pressed', light > 0)
  $('contrast').setAttribute('aria-pressed', contrast)
}

function drawBoxes() {
  const item = items[0], mine = boxes && looking === item?.media_id ? item.boxes : []
  $('boxes').replaceChildren(...mine.map(box => {
    const [left, top, right, bottom] = BOXES.map(o => box[o]), element = make('div', undefined, top < .05 ? { class: 'high' } : {})
    Object.assign(element.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` })
    element.append(make('span', `${box.category} ${box.confidence.toFixed(2)}`))
    return element
  }))
}

function step(by) {
  const media = items[0].burst.map(o => o.media_id), at = media.indexOf(looking) + by
  if (at >= 0 && at < media.length) look(media[at])
}

// ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────────
async function answer(label, name) {
  if (state() !== 'ready') return
  const only = ['blank', 'cannot tell'].includes(label)
  if (only && (begun.length || adding)) return say('Nothing there and cannot tell stand alone')
  if (adding) {  // one of several: stored together with the last one
    begun.push({ label, name: name ?? label, count: number })
    number = null
    adding = false
    return showBegun()
  }
  state('saving')
  const item = items[0], media = item.media_id, [first, ...also] = [...begun, { label, count: only ? null : number }]
  const body = { token: crypto.randomUUID(), media_id: media, label, reviewer, chosen }
  if (byBurst()) Object.assign(body, { media_id: oneFrame ? looking : media, label: first.label, count: first.count,
                                       also: also.map(o => ({ label: o.label, count: o.count })), scope: oneFrame ? 'frame' : 'burst' })
  keep(`answer ${body.token}`, body)
  let done
  try {
    const said = await post('answer', body)
    count(said.progress)
    done = said.done
  } catch (error) {
    trouble(error.message)
    return state('ready')
  } finally { forget(`answer ${body.token}`) }
  if (oneFrame && !done) return nextFrame(item, label, name)
  answered.add(media)
  passed = passed.filter(o => o !== media)
  keep('passed', passed)
  say(`Saved: ${name ?? label}`)
  items.shift()
  await onward()
}

// One frame was named alone: go to the next one that has no name yet.
function nextFrame(item, label, name) {
  item.own.frames[looking] = label
  for (const button of $('strip').children) if (button.dataset.media === looking) mark(button, label)
  clearBegun()
  state('ready')
  say(`Saved for this frame: ${name ?? label}`)
  const media = item.burst.map(o => o.media_id), at = media.indexOf(looking)
  const next = [...media.slice(at + 1), ...media.slice(0, at)].find(o => item.own.frames[o] === undefined)
  if (next) look(next)
}

async function undo() {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  state('saving')
  try {
    const said = await post('undo', { token: crypto.randomUUID(), reviewer, chosen })
    if (!said.item) { say('There is no answer of yours to take back'); return items.length ? state('ready') : onward() }
    count(said.progress)
    for (const unit of said.units) answered.delete(unit)
    items = [said.item, ...items.filter(o => o.media_id !== said.item.media_id)]
    say(said.units.length > 1 ? `${said.units.length} answers are taken back` : 'Taken back')
    await onward()
  } catch (error) {
    trouble(error.message)
    state(items.length ? 'ready' : 'done')
  }
}

async function skip() {
  if (state() !== 'ready') return
  const media = items.shift().media_id
  passed = [...passed.filter(o => o !== media), media]
  keep('passed', passed)
  say('Skipped: it comes again at the end')
  await onward()
}

function toggleBoxes() {
  boxes = !boxes
  $('toggle').setAttribute('aria-pressed', boxes)
  drawBoxes()
}

// ── another animal: what was typed is read as `clean` would read it ─────────────────────────────────────────────────
let read = null
function openOther() {
  $('other').hidden = false
  $('typed').value = $('heard').textContent = ''
  read = null
  $('typed').focus()
}

async function hear() {
  const typed = $('typed').value.trim()
  const said = typed ? await fetch(`read?${new URLSearchParams({ typed })}`).then(o => o.json()) : null
  if (typed !== $('typed').value.trim()) return null
  read = said && { ...said, typed }
  $('heard').textContent = !said ? '' : !said.label ? 'That names nothing.' : said.known ? `${said.name} (${said.label})`
    : `${said.label}: not in the table of names. Check the spelling, then take it.`
  return read
}

async function takeOther() {
  const sure = read?.typed === $('typed').value.trim(), said = sure ? read : await hear().catch(error => trouble(error.message))
  if (!said?.label || (!sure && !said.known)) return  // an unknown name is shown before it is taken
  $('typed').blur()
  await answer(said.label, said.name)
}

// ── keys, buttons, alias ────────────────────────────────────────────────────────────────────────────────────────────
function act(label) {
  if (state() === 'ready') label === null ? openOther() : answer(label, settings.classes.find(o => o.label === label)?.name)
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector('dialog[open]')) return
  if (wall?.isOpen) return wall.onKey(event)
  if (event.target.matches('select')) return
  if (event.target.matches('input')) {
    if (event.key === 'Escape') { $('other').hidden = true; $('typed').blur() }
    return
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  if (!keys.has(key) || (key === 'Enter' && event.target.matches('button'))) return
  event.preventDefault()
  keys.get(key)()
}

function opinionOf(place) {
  const one = items[0]?.opinions[place]
  if (state() !== 'ready') return
  one?.label ? answer(one.label, one.name) : say(`${one?.who ?? 'Nobody'}: not there`)
}

function bindKeys() {
  for (const { label, key } of settings.classes) if (key) keys.set(key, () => act(label))
  const commands = { Enter: () => opinionOf(0), m: () => opinionOf(1), z: () => opinionOf(2), u: undo, s: skip, b: toggleBoxes,
                     ArrowLeft: () => state() === 'ready' && step(-1), ArrowRight: () => state() === 'ready' && step(1), '?': () => $('keys').showModal() }
  if (byBurst()) Object.assign(commands, { m: () => opinionOf(0), z: toggleZoom, '+': () => countUp(1), '=': () => countUp(1), '-': () => countUp(-1), a: addAnother,
    f: toggleFrame, x: clearBegun, Escape: clearBegun, l: () => { light = (light + 1) % 4; setLight() }, k: () => { contrast = !contrast; setLight() } })
  if (settings.kind === 'season') Object.assign(commands, { e: () => openWall('empties'), w: () => openWall('chosen'), g: () => openWall('alike') })
  for (const [key, act] of Object.entries(commands)) keys.set(key, act)
  const own = { photographs: [['Enter', 'the volunteers are right'], ['m', 'the model is right'], ['z', 'SpeciesNet is right']], sample: [],
                season: [['Enter', 'the model is right']] }
  const ofBursts = [['+ −', 'how many there are in one frame at most, before the name'], ['a', 'and another species: the next key names one of several'],
                    ['f', 'this frame alone, or the whole burst'], ['x', 'forget the number and the others'], ['z', 'zoom, as the wheel does'],
                    ['l k', 'lighter in three steps, more contrast']]
  const ofSeasons = [['e', 'Empties: a wall of bursts that the model calls blank'], ['w', 'the chosen bursts on a wall'],
                     ...settings.alike ? [['g', 'what looks like this on a wall']] : []]
  const words = [...own[settings.kind], ...byBurst() ? ofBursts : [], ...settings.kind === 'season' ? ofSeasons : [],
                 ...settings.classes.filter(o => o.key).map(o => [o.key, o.name]), ['u', 'undo'], ['s', 'skip: it comes again at the end'],
                 ['b', 'boxes on or off'], ['← →', 'look along the burst']]
  $('key-list').append(...words.flatMap(([key, text]) => [withKey(make('dt'), key), make('dd', text)]))
}

// ── filters and the wall, of a season ───────────────────────────────────────────────────────────────────────────────
async function choose(filter) {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  chosen = filter
  $('camera').value = chosen.deployment ?? ''
  $('class').value = chosen.prediction ?? ''
  $('event').setAttribute('aria-pressed', chosen.event !== undefined && chosen.event !== null)
  items = []
  await onward()
}

async function openWall(kind) {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  if (kind === 'alike' && (!settings.alike || !items.length)) return
  const item = items[0], label = { empties: 'blank', chosen: chosen.prediction ?? null, alike: null }[kind]
  state('waiting')
  $('review').hidden = $('end').hidden = $('filters').hidden = true
  items = []
  const first = await wall.open({ kind, label, chosen: kind === 'empties' ? { ...chosen, prediction: 'blank' } : chosen, like: item?.media_id })
  $('filters').hidden = false
  for (const media of first.reverse()) {  // what was picked out comes one by one
    const { items: found } = await post('open', { reviewer, media_id: media })
    items.unshift(...found)
  }
  await onward()
}

function beginSeason() {
  $('filters').hidden = false
  const fill = (id, choices, filter) => {
    $(id).append(...(choices ?? []).map(o => make('option', `${o.name} (${o.count})`, { value: o.value })))
    $(id).addEventListener('change', () => { $(id).blur(); choose({ ...chosen, [filter]: $(id).value || null }) })
  }
  fill('camera', settings.choices.deployment, 'deployment')
  fill('class', settings.choices.prediction, 'prediction')
  for (const [id, choices] of [['cameras', settings.choices.deployment], ['class-names', settings.choices.prediction]]) $(id).hidden = !(choices?.length > 1)
  $('event').addEventListener('click', () => choose({ ...chosen, event: (chosen.event ?? null) === null ? items[0]?.event : null }))
  for (const [id, kind] of [['empties', 'empties'], ['on-wall', 'chosen'], ['near-wall', 'alike']]) $(id).addEventListener('click', () => openWall(kind))
  $('all-again').addEventListener('click', () => choose({}))
}

function beginBursts() {
  for (const id of ['how-many', 'zoom', 'light', 'contrast']) $(id).hidden = false
  for (const [id, act] of Object.entries({ fewer: () => countUp(-1), more: () => countUp(1), another: addAnother, 'one-frame': toggleFrame, zoom: toggleZoom,
    light: () => keys.get('l')(), contrast: () => keys.get('k')() })) $(id).addEventListener('click', act)
  wall = new Wall({ unanswer: units => { for (const o of units) answered.delete(o) }, $, make, withKey, address, post, keep, forget, count, say, trouble, nameOf, page, settings, reviewer: () => reviewer })
  if (settings.kind === 'season') beginSeason()
}

async function showAgreement() {
  const { both, agreed } = await (await fetch('agreement')).json()
  $('agreement').hidden = !both
  $('agreement').textContent = `Two people or more have named ${both} of them, and agree on ${agreed} (${Math.floor(100 * agreed / both)} %).`
}

function classButton({ label, name, key, special }) {
  const button = withKey(make('button', undefined, { type: 'button', ...special && { class: 'special' } }), key)
  button.prepend(make('span', name))
  button.addEventListener('click', () => act(label))
  return button
}

function askAlias() {
  $('alias-name').value = reviewer ?? ''
  showAgreement().catch(() => { /* it can wait */ })
  $('alias').showModal()
  return new Promise(resolve => {
    $('alias').onclose = () => { reviewer ? resolve() : $('alias').showModal() }
    $('alias').querySelector('form').onsubmit = event => {
      event.preventDefault()
      const alias = $('alias-name').value.trim()
      if (!alias) return
      reviewer = alias
      keep('reviewer', reviewer)
      $('alias').close()
    }
  })
}

async function changeAlias() {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  await askAlias()
  $('who').textContent = reviewer
  items = []
  answered.clear()
  await onward()
}

async function begin() {
  settings = await (await fetch('settings')).json()
  reviewer = kept('reviewer')
  passed = kept('passed') ?? []
  bindKeys()
  watchZoom()
  if (byBurst()) beginBursts()
  $('classes').append(...settings.classes.map(classButton))
  $('names').append(...settings.names.map(o => make('option', undefined, { value: o })))
  for (const [id, act] of Object.entries({ undo, 'undo-last': undo, skip, toggle: toggleBoxes, who: changeAlias, help: () => $('keys').showModal(),
                                           leave: () => { $('other').hidden = true } })) $(id).addEventListener('click', act)
  $('typed').addEventListener('input', () => hear().catch(error => trouble(error.message)))
  $('other').addEventListener('submit', event => { event.preventDefault(); takeOther() })
  document.addEventListener('keydown', onKey)
  document.addEventListener('click', event => { if (event.detail) event.target.closest('button:not(.tile)')?.blur() })  // Enter is for who tabs to it
  if (!reviewer) await askAlias()
  $('who').textContent = reviewer
  await sendKept()
  await onward()
}

begin().catch(error => trouble(`The page could not be started: ${error.message}`))
