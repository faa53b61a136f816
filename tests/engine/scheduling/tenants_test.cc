#include "engine/scheduling/tenants.h"

#include <gtest/gtest.h>

namespace retnet {
namespace {

Tenant Make(const char* principal, const char* connection, double weight = 1.0) {
  return {.principal = principal, .connection = connection, .weight = weight};
}

TEST(Tenants, PrincipalsShareByWeightAndTheirConnectionsAlike) {
  Tenants tenants;
  Tenants::Entry* one = tenants.Join(Make("a", "1"));
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*one), 1.0);
  Tenants::Entry* heavy = tenants.Join(Make("b", "1", 3.0));
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*one), 0.25);
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*heavy), 0.75);
  Tenants::Entry* second = tenants.Join(Make("a", "2"));
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*one), 0.125);
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*second), 0.125);
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*heavy), 0.75) << "a principal gains nothing by connections";
  tenants.Leave(one);
  EXPECT_DOUBLE_EQ(tenants.ShareOf(*second), 0.25);
}

TEST(Tenants, AreThereAsLongAsTheirSequences) {
  Tenants tenants;
  Tenants::Entry* entry = tenants.Join(Make("a", "1"));
  EXPECT_EQ(tenants.Join(Make("a", "1")), entry);
  EXPECT_EQ(entry->sequences, 2);
  tenants.Leave(entry);
  EXPECT_EQ(tenants.Find(Make("a", "1")), entry);
  tenants.Leave(entry);
  EXPECT_EQ(tenants.Find(Make("a", "1")), nullptr);
  EXPECT_EQ(tenants.count(), 0);
}

TEST(Tenants, ANewOneBeginsWithTheLeastTimeOfTheOthers) {
  Tenants tenants;
  tenants.Join(Make("a", "1"))->virtual_seconds = 7.0;
  tenants.Join(Make("b", "1"))->virtual_seconds = 5.0;
  EXPECT_DOUBLE_EQ(tenants.Join(Make("c", "1"))->virtual_seconds, 5.0);
}

}  // namespace
}  // namespace retnet
