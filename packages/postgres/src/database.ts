import type pg from 'pg'

/** A session in which queries run: the pool, or one connection of it. */
export type Database = Pick<pg.ClientBase, 'query'>
