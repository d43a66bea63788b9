/* Every statement the store ever runs, as X(NAME, text).
 *
 * Parameters and columns are named like the fields of store_sqlite.h. INDEXED BY says which index
 * each relies on: without it the statement is refused rather than slow. A test asks SQLite for the
 * plan of each and finds no full scan. */
#ifndef RLK_STORE_SQL_H
#define RLK_STORE_SQL_H

/* What a connection is set to before anything else. */
#define RLK_STORE_SETTINGS                                                                         \
    "PRAGMA synchronous=FULL;"                                                                     \
    "PRAGMA secure_delete=ON;"                                                                     \
    "PRAGMA temp_store=MEMORY;"                                                                    \
    "PRAGMA cell_size_check=ON;"                                                                   \
    "PRAGMA trusted_schema=OFF;"                                                                   \
    "PRAGMA journal_size_limit=4194304"

#define RLK_SQL_ROW "SELECT key, kind, state, user, account, due_ms, version, data FROM rows "
#define RLK_SQL_EVENT "SELECT key, alias, account, state, received_ms, attempts, data FROM events "

/* An index is written for every column that an update names, whether its value is another or not.
 * Most updates change none, so those that need not name any come first. */
#define RLK_SQL_SAME_LINK                                                                          \
    "WHERE client = :client AND key = :key AND kind IS :kind AND state IS :state "                 \
    "AND user IS :user AND account IS :account "

/* What is due, all of it or what comes after a row with this due_ms and key. */
#define RLK_SQL_OVERDUE                                                                            \
    "INDEXED BY rows_due WHERE client = :client AND due_ms <= :now_ms "                            \
    "AND due_ms >= ifnull(:due_ms, -9223372036854775808) "                                         \
    "AND (:due_ms IS NULL OR due_ms > :due_ms OR key > :after) "

/* A pending event that nobody else has: a lease of another boot is void. */
#define RLK_SQL_TAKABLE                                                                            \
    "client = :client AND state = 'pending' AND "                                                  \
    "(owner IS NULL OR owner = :owner OR until_ms <= :boot_ms OR boot <> :boot) "
#define RLK_SQL_TAKE "UPDATE events SET owner = :owner, boot = :boot, until_ms = :until_ms "
#define RLK_SQL_TAKEN                                                                              \
    "client = :client AND state = 'pending' AND owner = :owner AND boot = :boot "                  \
    "AND until_ms = :until_ms "

#define RLK_STORE_SQL(X)                                                                           \
    X(CLIENT, "SELECT id AS client FROM clients WHERE client_id = :key")                           \
    X(CLIENT_ADD,                                                                                  \
      "INSERT INTO clients (client_id, change) VALUES (:key, 0) RETURNING id AS client")           \
    X(CHANGE, "SELECT change FROM clients WHERE id = :client")                                     \
    X(CHANGE_NEXT, "UPDATE clients SET change = change + 1 WHERE id = :client RETURNING change")   \
                                                                                                   \
    X(ROW, RLK_SQL_ROW "WHERE client = :client AND key = :key")                                    \
    X(ROW_VERSION, "SELECT version FROM rows WHERE client = :client AND key = :key")               \
    X(ROW_ADD,                                                                                     \
      "INSERT INTO rows (client, key, kind, state, user, account, due_ms, version, data) "         \
      "VALUES (:client, :key, :kind, :state, :user, :account, :due_ms, :change, :data)")           \
    X(ROW_PUT_DATA,                                                                                \
      "UPDATE rows INDEXED BY rows_key SET data = :data, version = :change " RLK_SQL_SAME_LINK     \
      "AND due_ms IS :due_ms")                                                                     \
    X(ROW_PUT_DUE, "UPDATE rows INDEXED BY rows_key SET data = :data, version = :change, "         \
                   "due_ms = :due_ms " RLK_SQL_SAME_LINK)                                          \
    X(ROW_PUT, "UPDATE rows SET kind = :kind, state = :state, user = :user, account = :account, "  \
               "due_ms = :due_ms, data = :data, version = :change, left_change = "                 \
               "CASE WHEN state = 'unclaimed' AND :state IS NOT 'unclaimed' THEN :change "         \
               "ELSE left_change END WHERE client = :client AND key = :key")                       \
    X(ROW_DROP, "DELETE FROM rows WHERE client = :client AND key = :key")                          \
    X(REMOVED_PUT, "INSERT INTO removed (client, key, change, at_ms) "                             \
                   "VALUES (:client, :key, :change, :now_ms) ON CONFLICT (client, key) "           \
                   "DO UPDATE SET change = excluded.change, at_ms = excluded.at_ms")               \
    X(REMOVED_DROP, "DELETE FROM removed WHERE client = :client AND key = :key")                   \
                                                                                                   \
    X(FIND, RLK_SQL_ROW "INDEXED BY rows_key WHERE client = :client AND key > :after "             \
                        "ORDER BY key LIMIT :limit")                                               \
    X(FIND_STATE, RLK_SQL_ROW "INDEXED BY rows_state WHERE client = :client AND state = :state "   \
                              "AND key > :after ORDER BY key LIMIT :limit")                        \
    X(FIND_USER, RLK_SQL_ROW "INDEXED BY rows_user WHERE client = :client AND user = :user "       \
                             "AND key > :after AND (:state IS NULL OR state = :state) "            \
                             "ORDER BY key LIMIT :limit")                                          \
    X(FIND_ACCOUNT, RLK_SQL_ROW "INDEXED BY rows_account WHERE client = :client "                  \
                                "AND account = :account AND key > :after "                         \
                                "AND (:state IS NULL OR state = :state) "                          \
                                "AND (:user IS NULL OR user = :user) ORDER BY key LIMIT :limit")   \
    X(DUE, RLK_SQL_ROW RLK_SQL_OVERDUE "ORDER BY due_ms, key LIMIT :limit")                        \
    X(DUE_MORE, "SELECT due_ms FROM rows " RLK_SQL_OVERDUE "LIMIT 1 OFFSET :limit")                \
    X(DUE_NEXT, "SELECT due_ms FROM rows INDEXED BY rows_due WHERE client = :client "              \
                "AND due_ms > :now_ms ORDER BY due_ms LIMIT 1")                                    \
    X(TALLY, "SELECT state, count(*) AS count FROM rows INDEXED BY rows_state "                    \
             "WHERE client = :client AND state IS NOT NULL GROUP BY state")                        \
    X(TALLY_EVENTS, "SELECT count(*) AS count FROM events INDEXED BY events_pending "              \
                    "WHERE client = :client AND state = 'pending'")                                \
    X(UNCLAIMED,                                                                                   \
      RLK_SQL_ROW "INDEXED BY rows_unclaimed WHERE client = :client "                              \
                  "AND state = 'unclaimed' AND version > :change ORDER BY version DESC")           \
    X(LEFT, "SELECT key FROM rows INDEXED BY rows_left WHERE client = :client "                    \
            "AND left_change > :change AND state IS NOT 'unclaimed'")                              \
    X(REMOVED, "SELECT key FROM removed INDEXED BY removed_change WHERE client = :client "         \
               "AND change > :change")                                                             \
                                                                                                   \
    X(LEASE, "SELECT until_ms FROM leases WHERE client = :client AND key = :key "                  \
             "AND owner <> :owner AND boot = :boot AND until_ms > :boot_ms")                       \
    X(LEASE_PUT, "INSERT INTO leases (client, key, owner, boot, until_ms) "                        \
                 "VALUES (:client, :key, :owner, :boot, :until_ms) ON CONFLICT (client, key) "     \
                 "DO UPDATE SET owner = excluded.owner, boot = excluded.boot, "                    \
                 "until_ms = excluded.until_ms")                                                   \
    X(LEASE_DROP, "DELETE FROM leases WHERE client = :client AND key = :key AND owner = :owner")   \
    X(SEEN, "SELECT until_ms FROM remembered WHERE client = :client AND kind = :kind "             \
            "AND key = :key AND until_ms > :now_ms")                                               \
    X(SEEN_PUT, "INSERT INTO remembered (client, kind, key, until_ms) "                            \
                "VALUES (:client, :kind, :key, :until_ms) ON CONFLICT (client, kind, key) "        \
                "DO UPDATE SET until_ms = excluded.until_ms")                                      \
                                                                                                   \
    X(EVENT_ID, "SELECT key, state FROM events WHERE client = :client AND key = :key")             \
    X(EVENT_ALIAS, "SELECT key, state FROM events INDEXED BY events_alias WHERE client = :client " \
                   "AND alias = :alias")                                                           \
    X(EVENT_ADD, "INSERT INTO events "                                                             \
                 "(client, key, alias, account, state, received_ms, due_ms, attempts, data) "      \
                 "VALUES (:client, :key, :alias, :account, 'pending', :received_ms, "              \
                 ":received_ms, 0, :data)")                                                        \
    X(EVENT_TAKE, RLK_SQL_TAKE "WHERE id IN (SELECT id FROM events INDEXED BY events_pending "     \
                               "WHERE " RLK_SQL_TAKABLE "AND due_ms <= :now_ms "                   \
                               "ORDER BY due_ms, id LIMIT :limit)")                                \
    X(EVENT_TAKE_ONE, RLK_SQL_TAKE "WHERE key = :key AND " RLK_SQL_TAKABLE)                        \
    X(EVENT_TAKEN, RLK_SQL_EVENT "INDEXED BY events_pending WHERE " RLK_SQL_TAKEN                  \
                                 "AND due_ms <= :now_ms ORDER BY due_ms, id LIMIT :limit")         \
    X(EVENT_TAKEN_ONE, RLK_SQL_EVENT "WHERE key = :key AND " RLK_SQL_TAKEN)                        \
    X(EVENT_NEXT,                                                                                  \
      "SELECT min(max(due_ms, CASE WHEN owner IS NULL OR owner = :owner OR boot <> :boot "         \
      "THEN due_ms ELSE :now_ms + until_ms - :boot_ms END, :now_ms)) AS due_ms "                   \
      "FROM events INDEXED BY events_pending WHERE client = :client AND state = 'pending' "        \
      "AND NOT (owner IS :owner AND boot IS :boot AND until_ms IS :until_ms)")                     \
    X(EVENT_PENDING, RLK_SQL_EVENT "INDEXED BY events_pending_key WHERE client = :client "         \
                                   "AND key > :after AND state = 'pending' "                       \
                                   "ORDER BY key LIMIT :limit")                                    \
    X(EVENT_REPLACE, "UPDATE events SET data = :data WHERE client = :client AND key = :key "       \
                     "AND state = 'pending' AND data = :was")                                      \
    X(EVENT_RELEASE, "UPDATE events SET owner = NULL, boot = NULL, until_ms = NULL, "              \
                     "attempts = attempts + 1, due_ms = ifnull(:due_ms, received_ms) "             \
                     "WHERE client = :client AND key = :key AND owner = :owner")                   \
    X(EVENT_DONE, "UPDATE events SET state = 'done', data = NULL, owner = NULL, boot = NULL, "     \
                  "until_ms = NULL WHERE client = :client AND key = :key")                         \
    X(EVENT_FORGET, "UPDATE events INDEXED BY events_account SET state = 'done', data = NULL, "    \
                    "alias = NULL, account = NULL, owner = NULL, boot = NULL, until_ms = NULL "    \
                    "WHERE client = :client AND account = :account")                               \
                                                                                                   \
    X(PRUNE_EVENTS, "DELETE FROM events INDEXED BY events_received "                               \
                    "WHERE client = :client AND received_ms < :until_ms")                          \
    X(PRUNE_SEEN, "DELETE FROM remembered INDEXED BY remembered_until "                            \
                  "WHERE client = :client AND until_ms <= :now_ms")                                \
    X(PRUNE_REMOVED, "DELETE FROM removed INDEXED BY removed_at "                                  \
                     "WHERE client = :client AND at_ms < :until_ms")                               \
    X(PRUNE_LEASES, "DELETE FROM leases WHERE client = :client "                                   \
                    "AND (until_ms <= :boot_ms OR boot <> :boot)")                                 \
                                                                                                   \
    X(META, "SELECT key, data FROM meta WHERE client = :client AND key = :key")                    \
    X(META_ADD, "INSERT INTO meta (client, key, data) VALUES (:client, :key, :data)")              \
    X(META_SWAP, "UPDATE meta SET data = :data WHERE client = :client AND key = :key "             \
                 "AND data = :was")                                                                \
                                                                                                   \
    X(BEGIN, "BEGIN")                                                                              \
    X(BEGIN_IMMEDIATE, "BEGIN IMMEDIATE")                                                          \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVEPOINT, "SAVEPOINT job")                                                                  \
    X(RELEASE, "RELEASE job")                                                                      \
    X(UNDO, "ROLLBACK TO job")

typedef enum rlk_sql {
#define RLK_SQL_ENUM(NAME, text) RLK_SQL_##NAME##_,
    RLK_STORE_SQL(RLK_SQL_ENUM)
#undef RLK_SQL_ENUM
        RLK_SQL_COUNT
} rlk_sql;

/* A statement's text. */
const char *rlk_sql_text(int which);

#endif
