/** `process.env`, or a plain object in tests and in `server/`. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads variables and keeps every problem, so that a function that starts without its settings says all of
 * them at once. `done()` throws when there are any.
 */
export class EnvironmentReader {
  readonly #environment: Environment
  readonly #problems: string[] = []

  constructor(environment: Environment) {
    this.#environment = environment
  }

  text(name: string): string {
    const value = this.#environment[name]
    if (value !== undefined && value !== '') return value
    this.#problems.push(`${name} is not set`)
    return ''
  }

  optional(name: string): string | undefined {
    const value = this.#environment[name]
    return value === '' ? undefined : value
  }

  whole(
    name: string,
    { least, most, otherwise }: { least: number; most: number; otherwise?: number },
  ): number {
    const value = this.optional(name)
    if (value === undefined && otherwise !== undefined) return otherwise
    const number = /^[0-9]{1,15}$/.test(value ?? '') ? Number(value) : Number.NaN
    if (number >= least && number <= most) return number
    this.#problems.push(
      `${name} is ${JSON.stringify(value)}; expected a whole number from ${least} to ${most}`,
    )
    return least
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[], otherwise?: Choice): Choice {
    const value = this.optional(name)
    const choice = choices.find((candidate) => candidate === value)
    if (choice !== undefined) return choice
    const first = otherwise ?? choices[0]
    if ((value !== undefined || otherwise === undefined) && first !== undefined)
      this.#problems.push(`${name} is ${JSON.stringify(value)}; expected one of ${choices.join(', ')}`)
    if (first === undefined) throw new RangeError(`${name} has no choices`)
    return first
  }

  /** A time such as 2027-01-31T00:00:00Z; undefined when it is not set, or `none`. */
  instant(name: string): Date | undefined {
    const value = this.optional(name)
    if (value === undefined || value === 'none') return undefined
    if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z$/.test(value) && !Number.isNaN(Date.parse(value)))
      return new Date(value)
    this.#problems.push(
      `${name} is ${JSON.stringify(value)}; expected none or a time such as 2027-01-31T00:00:00Z`,
    )
    return undefined
  }

  /** Notes a problem that only the reader of several variables can see. */
  refuse(problem: string): void {
    this.#problems.push(problem)
  }

  /** @throws {Error} naming every variable that is missing or wrong. */
  done(): void {
    if (this.#problems.length > 0) throw new Error(`configuration: ${this.#problems.join('; ')}`)
  }
}
