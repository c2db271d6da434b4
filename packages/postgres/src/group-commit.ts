/** How a group is carried out and what may be in one. */
export type GroupCommitOptions<Item, Outcome> = {
  /** All of a group in one transaction, with one outcome each, in order. */
  readonly commit: (items: readonly Item[]) => Promise<readonly Outcome[]>
  /** Items of one group share this, such as the tenant of the transaction. */
  readonly groupOf: (item: Item) => string
  /** No two items of a group share this, such as the row that they change. */
  readonly uniqueOf: (item: Item) => string
  /** Whether the database undid a group that threw, so that its items may be tried one by one. */
  readonly isUndone: (error: unknown) => boolean
  readonly itemsMax: number
  /** From this many on a group leaves at once, so that the database works while the next requests are still read. */
  readonly itemsEager: number
  /** Groups on their way at the same time. */
  readonly inFlightMax: number
  /** Items that may wait; beyond, callers are turned away at once. */
  readonly waitingMax: number
}

/** More callers than the database keeps up with. Nothing was done. */
export class Overloaded extends Error {
  constructor(waiting: number) {
    super(`${waiting} items already wait for the database`)
    this.name = 'Overloaded'
  }
}

/**
 * Lets concurrent callers of one process share a transaction, and so its round trip and its flush to disk. There is no
 * timer: a group leaves at the end of the turn of the event loop, with whatever that turn has read from the network. When a group fails and was undone, each
 * of its items is tried alone, so that one bad item fails its own caller only.
 */
export class GroupCommit<Item, Outcome> {
  readonly #options: GroupCommitOptions<Item, Outcome>
  #waiting: Waiting<Item, Outcome>[] = []
  #inFlight = 0
  #scheduled: boolean = false

  constructor(options: GroupCommitOptions<Item, Outcome>) {
    this.#options = options
  }

  add(item: Item): Promise<Outcome> {
    if (this.#waiting.length >= this.#options.waitingMax) {
      return Promise.reject(new Overloaded(this.#waiting.length))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#waiting.length >= this.#options.itemsEager) this.#leave()
      else this.#leaveAfterThisTurn()
    })
  }

  #leaveAfterThisTurn(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#leave()
    })
  }

  #leave(): void {
    while (this.#inFlight < this.#options.inFlightMax && this.#waiting.length > 0) {
      const group = this.#take()
      this.#inFlight++
      void this.#carryOut(group).finally(() => {
        this.#inFlight--
        if (this.#waiting.length > 0) this.#leaveAfterThisTurn()
      })
    }
  }

  /** The oldest item and those behind it that fit; the others keep their places. */
  #take(): Waiting<Item, Outcome>[] {
    const { groupOf, uniqueOf, itemsMax } = this.#options
    const group: Waiting<Item, Outcome>[] = []
    const rest: Waiting<Item, Outcome>[] = []
    const present = new Set<string>()
    let shared: string | undefined
    for (const one of this.#waiting) {
      shared ??= groupOf(one.item)
      const unique = uniqueOf(one.item)
      if (group.length < itemsMax && groupOf(one.item) === shared && !present.has(unique)) group.push(one)
      else rest.push(one)
      // An item that waits keeps later ones of its kind behind it.
      present.add(unique)
    }
    this.#waiting = rest
    return group
  }

  async #carryOut(group: readonly Waiting<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.#options.commit(group.map(({ item }) => item))
      group.forEach(({ resolve, reject }, at) => {
        const outcome = outcomes[at]
        if (outcome === undefined) reject(new Error('a group came back with too few outcomes'))
        else resolve(outcome)
      })
    } catch (error) {
      if (group.length > 1 && this.#options.isUndone(error)) {
        for (const one of group) await this.#carryOut([one])
      } else {
        for (const { reject } of group) reject(error)
      }
    }
  }
}

type Waiting<Item, Outcome> = {
  readonly item: Item
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}
