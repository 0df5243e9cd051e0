/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which rule decides.
 */
#include "fscache/rules.h"

#include "tests/harness/tap.h"

static FscRule *
add (FscRules *rules, const char *name, const char *users, const char *uris, const char *sandboxed,
     const char *action)
{
  FscRule *rule = fsc_rules_add (rules, name);
  const char *key;
  char *problem;

  rule->users = g_strdup (users);
  rule->uris = g_strdup (uris);
  rule->sandboxed = g_strdup (sandboxed);
  rule->action = g_strdup (action);
  problem = fsc_rule_compile (rule, &key);
  g_assert_cmpstr (problem, ==, NULL);
  return rule;
}

static gboolean
tell (gpointer data)
{
  return GPOINTER_TO_INT (data);
}

static void
assert_rule (const FscRules *rules, const FscUser *user, const char *uri, gboolean is_sandboxed,
             const char *expected)
{
  g_autoptr (GPtrArray) selected = fsc_rules_select (rules, user);
  const FscRule *rule = fsc_rules_find (selected, uri, tell, GINT_TO_POINTER (is_sandboxed));

  g_assert_cmpstr (rule != NULL ? rule->name : NULL, ==, expected);
}

static void
test_first (void)
{
  g_autoptr (FscRules) rules = fsc_rules_new ();
  const FscUser user = { .uid = 1000, .gid = 1000 };

  assert_rule (rules, &user, "file:///a", FALSE, NULL);
  add (rules, "one", NULL, "file:///srv/public/*", NULL, "allow");
  add (rules, "two", NULL, "file:///srv/* http:*", NULL, "refuse");
  add (rules, "three", NULL, NULL, "yes", "refuse");
  assert_rule (rules, &user, "file:///srv/public/a", FALSE, "one");
  assert_rule (rules, &user, "file:///srv/a", FALSE, "two");
  assert_rule (rules, &user, "http://host/", FALSE, "two");
  assert_rule (rules, &user, "file:///home/a", FALSE, NULL);
  assert_rule (rules, &user, "file:///home/a", TRUE, "three");
}

static void
test_users (void)
{
  g_autoptr (FscRules) rules = fsc_rules_new ();
  gid_t groups[] = { 7, 9 };
  const FscUser by_uid = { .uid = 1000, .gid = 1 }, by_gid = { .uid = 1, .gid = 9 },
                by_group = { .uid = 1, .gid = 1, .n_groups = 2, .groups = groups },
                nobody = { .uid = 1001, .gid = 1 };

  add (rules, "some", "1000 @9", NULL, NULL, "refuse");
  assert_rule (rules, &by_uid, "file:///a", FALSE, "some");
  assert_rule (rules, &by_gid, "file:///a", FALSE, "some");
  assert_rule (rules, &by_group, "file:///a", FALSE, "some");
  assert_rule (rules, &nobody, "file:///a", FALSE, NULL);
  add (rules, "all", "*", NULL, NULL, "allow");
  assert_rule (rules, &nobody, "file:///a", FALSE, "all");
}

/* One file has many names: those that can be told without looking are one. */
static void
test_names (void)
{
  g_autoptr (FscRules) rules = fsc_rules_new ();
  const FscUser user = { .uid = 1000, .gid = 1000 };
  static const char *const same[] = {
    "file:///srv/secret/a",       "file:///srv/public/../secret/a", "file:///srv/secret/./a",
    "file:///x/../srv/secret/a/", "unpack:///srv/secret/a#member",  "unpack:///y/../srv/secret/a",
    "file:///../srv/secret/a",
  };
  static const char *const other[] = {
    "file:///srv/secret",
    "file:///srv/secret/../a",
    "unpack:///srv/a#../secret/a",
    "handle:/srv/secret/a",
  };

  add (rules, "public", NULL, "file:///srv/public/*", NULL, "allow");
  add (rules, "secret", NULL, "file:///srv/secret/*", NULL, "refuse");
  for (guint i = 0; i < G_N_ELEMENTS (same); i++)
    assert_rule (rules, &user, same[i], FALSE, "secret");
  for (guint i = 0; i < G_N_ELEMENTS (other); i++)
    assert_rule (rules, &user, other[i], FALSE, NULL);
}

static void
test_faults (void)
{
  static const struct
  {
    const char *users, *uris, *sandboxed, *action, *key, *problem;
  } cases[] = {
    { NULL, NULL, NULL, NULL, "action", "missing" },
    { NULL, NULL, NULL, "deny", "action", "allow or refuse" },
    { NULL, NULL, "maybe", "allow", "sandboxed", "yes or no" },
    { "nobody-of-this-name", NULL, NULL, "allow", "users", "no user" },
    { "@no-group-of-this-name", NULL, NULL, "allow", "users", "no group" },
    { "* root", NULL, NULL, "allow", "users", "everybody" },
    { "4294967295", NULL, NULL, "allow", "users", "no user" },
    { NULL, "/srv", NULL, "allow", "uris", "file:///srv" },
    { NULL, "file:* srv", NULL, "allow", "uris", "scheme" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (FscRules) rules = fsc_rules_new ();
      FscRule *rule = fsc_rules_add (rules, "x");
      g_autofree char *problem = NULL;
      const char *key = NULL;

      rule->users = g_strdup (cases[i].users);
      rule->uris = g_strdup (cases[i].uris);
      rule->sandboxed = g_strdup (cases[i].sandboxed);
      rule->action = g_strdup (cases[i].action);
      problem = fsc_rule_compile (rule, &key);
      g_assert_nonnull (problem);
      g_assert_cmpstr (key, ==, cases[i].key);
      g_assert_nonnull (strstr (problem, cases[i].problem));
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/rules/first", test_first);
  g_test_add_func ("/rules/users", test_users);
  g_test_add_func ("/rules/names", test_names);
  g_test_add_func ("/rules/faults", test_faults);
  return g_test_run ();
}
