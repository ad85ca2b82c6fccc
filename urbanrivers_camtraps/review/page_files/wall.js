// A wall of bursts: what is not picked out is signed off with one key, all of a screen in one step.
const SCREEN = 24

export class Wall {
  constructor(tools) {
    Object.assign(this, tools)  // of the page
    this.isOpen = false
    const { $ } = tools, acts = { sign: () => this.sign(), 'wall-skip': () => this.skip(), 'wall-undo': () => this.undo(), 'wall-close': () => this.close() }
    for (const [id, act] of Object.entries(acts)) $(id).addEventListener('click', act)
    for (const { label, name, key } of this.settings.classes.filter(o => o.label)) {
      const button = this.withKey(this.make('button', name, { type: 'button' }), key)
      button.addEventListener('click', () => this.name(label))
      $('wall-classes').append(button)
    }
  }

  // Show the wall; the promise is kept with what was picked out and not named, once it is closed.
  async open({ kind, label, chosen, like }) {
    this.say('')
    Object.assign(this, { kind, label, chosen, like, isOpen: true, passed: [], left: [] })
    this.$('wall').hidden = false
    const closed = new Promise(resolve => { this.resolve = resolve })
    this.load().catch(error => this.trouble(error.message))
    return closed
  }

  state(value) {
    if (value) this.$('wall').dataset.state = value
    return this.$('wall').dataset.state
  }

  async load() {
    this.state('loading')
    const body = { reviewer: this.reviewer(), page: this.page, have: this.left, passed: this.passed, count: Math.min(60, SCREEN + this.left.length), chosen: this.chosen }
    const said = this.kind === 'alike' ? await this.post('alike', { reviewer: body.reviewer, media_id: this.like }) : await this.post('next', body)
    if (said.progress) this.count(said.progress)
    this.waiting = said.waiting ?? 0
    const open = said.items.filter(o => this.kind !== 'alike' || o.own.label === null)
    this.tiles = open.slice(0, SCREEN).map(item => ({ item, picked: false, label: null, element: this.tile(item) }))
    this.$('tiles').replaceChildren(...this.tiles.map(o => o.element))
    this.show()
    this.state('ready')
    this.tiles[0]?.element.focus()
  }

  tile(item) {
    const { make } = this, button = make('button', undefined, { type: 'button', class: 'tile', 'aria-pressed': 'false' })
    const time = item.burst.find(o => o.media_id === item.unsure)?.time ?? ''
    button.append(make('img', undefined, { src: this.address(item.unsure, 'medium'), alt: '' }), make('small', [item.deployment, time].filter(Boolean).join(' · ') || ' '))
    if (item.burst.length > 1) button.append(make('i', `${item.burst.length} frames`))
    button.setAttribute('aria-label', `Burst of ${item.deployment} ${time}`)
    button.dataset.media = item.media_id
    button.addEventListener('click', () => this.pick(button))
    return button
  }

  show() {
    const { $ } = this, picked = this.tiles.filter(o => o.picked).length, rest = this.tiles.length - picked
    $('wall-title').textContent = { empties: 'Empties', chosen: 'Wall', alike: 'Looks alike' }[this.kind]
    $('sign').hidden = $('wall-skip').hidden = !this.tiles.length
    $('sign').textContent = this.label ? `${rest} ${this.label === 'blank' ? 'show nothing' : `are ${this.nameOf(this.label)}`} ` : 'What are they? '
    this.withKey($('sign'), 'Enter')
    $('wall-help').textContent = !this.tiles.length
      ? this.waiting ? `${this.waiting} more are open on another page. They come here if they are not answered within some minutes.` : 'Nothing is left here.'
      : this.label ? 'Click what is something else, or go to it with the arrow keys and press the space bar; then a class key names it. z shows it larger.'
        : 'Press the key of what all of these are, after picking out what is something else.'
    for (const { picked, label, element } of this.tiles) {
      element.setAttribute('aria-pressed', picked)
      element.querySelector('b')?.remove()
      if (picked) element.append(this.make('b', label ? this.nameOf(label) : 'something else'))
    }
  }

  pick(element) {
    const tile = this.tiles.find(o => o.element === element)
    if (!tile || this.state() !== 'ready') return
    tile.picked = !tile.picked
    tile.label = null
    element.focus()
    this.show()
  }

  // Name what is picked out; if nothing is, name the screen.
  name(label) {
    if (this.state() !== 'ready') return
    const open = this.tiles.filter(o => o.picked && !o.label)
    if (open.length) for (const tile of open) tile.label = label
    else if (this.kind !== 'empties') this.label = label
    else this.say('Pick out first what is not empty')
    this.show()
  }

  async sign() {
    if (this.state() !== 'ready' || !this.tiles.length) return
    if (!this.label) return this.say('Press the key of what these are')
    const answers = this.tiles.map(o => ({ media_id: o.item.media_id, label: o.picked ? o.label : this.label })).filter(o => o.label)
    this.left.push(...this.tiles.filter(o => o.picked && !o.label).map(o => o.item.media_id))
    if (answers.length) {
      this.state('saving')
      const body = { token: crypto.randomUUID(), reviewer: this.reviewer(), answers, chosen: this.chosen }
      this.keep(`answers ${body.token}`, body)
      try { this.count((await this.post('answers', body)).progress) } catch (error) {
        this.trouble(error.message)
        return this.state('ready')
      } finally { this.forget(`answers ${body.token}`) }
      this.say(`Saved: ${answers.length} bursts`)
    }
    this.state('ready')
    if (this.kind === 'alike') return this.close()
    await this.load()
  }

  async skip() {
    if (this.state() !== 'ready') return
    this.passed.push(...this.tiles.map(o => o.item.media_id))
    await this.load()
  }

  async undo() {
    if (this.state() !== 'ready') return
    this.state('saving')
    const said = await this.post('undo', { token: crypto.randomUUID(), reviewer: this.reviewer(), chosen: this.chosen })
    this.unanswer(said.units)
    this.say(said.units.length ? `${said.units.length} answers are taken back` : 'There is no answer of yours to take back')
    await this.load()
  }

  close() {
    if (!['ready', 'loading'].includes(this.state())) return
    this.isOpen = false
    this.state('closed')
    this.$('wall').hidden = true
    this.$('tiles').replaceChildren()
    this.resolve(this.left)
  }

  closer(media) {
    this.$('closer-image').src = this.address(media)
    this.$('closer').showModal()
  }

  onKey(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    const at = this.tiles.findIndex(o => o.element === document.activeElement)
    const across = Math.max(1, getComputedStyle(this.$('tiles')).gridTemplateColumns.split(' ').length)
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key]
    const named = this.settings.classes.find(o => o.key === key && o.label)
    const commands = { Enter: () => this.sign(), s: () => this.skip(), u: () => this.undo(), e: () => this.close(), w: () => this.close(), Escape: () => this.close(),
                       ' ': () => this.tiles[at] && this.pick(this.tiles[at].element), z: () => this.tiles[at] && this.closer(this.tiles[at].item.unsure),
                       '?': () => this.$('keys').showModal() }
    if (!step && !named && !commands[key]) return
    event.preventDefault()
    if (step) this.tiles[Math.min(this.tiles.length - 1, Math.max(0, at + step))]?.element.focus()
    else if (commands[key]) Promise.resolve(commands[key]()).catch(error => this.trouble(error.message))
    else this.name(named.label)
  }
}
