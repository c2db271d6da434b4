/** What the demo says while it runs, and to whoever wants to interfere at a certain point (tests do). */
export type Stage =
  | 'server started'
  | 'fleet applied'
  | 'push delivered'
  | 'evaluating'
  | 'building'
  | 'built'
  | 'hosts up to date'
  | 'second push'
  | 'one behind'
  | 'unattributed'
  | 'substituted'

export type Reporter = {
  /** A line for people. */
  say(text: string): void
  /** Called once when the stage is reached; the demo goes on when the promise resolves. */
  reached(stage: Stage): Promise<void>
}
