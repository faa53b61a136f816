#include "server/identity/caller.h"

#include <gtest/gtest.h>

namespace retnet {
namespace {

TEST(TenantOfPeer, IsTheAddressAndThePortTellsConnectionsApart) {
  struct Case {
    const char* peer;
    const char* principal;
    const char* connection;
  };
  for (const auto& [peer, principal, connection] :
       {Case{"ipv4:127.0.0.1:40312", "ipv4:127.0.0.1", "40312"},
        Case{"ipv6:%5B::1%5D:40312", "ipv6:%5B::1%5D", "40312"}, Case{"unix:", "unix:", ""},
        Case{"unix:/run/retnet", "unix:/run/retnet", ""}, Case{"", "", ""}}) {
    const Tenant tenant = TenantOfPeer(peer);
    EXPECT_EQ(tenant.principal, principal);
    EXPECT_EQ(tenant.connection, connection);
    EXPECT_EQ(tenant.weight, 1.0);
  }
}

TEST(CallerFor, APrincipalIsOneTenantWithItsWeight) {
  PrincipalLimits limits;
  limits.weight = 2.5;
  const auto principal = std::make_shared<Principal>("ipv4:127.0.0.1", limits);
  const Caller caller = CallerFor(principal);
  EXPECT_EQ(caller.owner, "ipv4:127.0.0.1");
  EXPECT_EQ(caller.principal, principal);
  EXPECT_EQ(caller.tenant.connection, "");
  EXPECT_EQ(caller.tenant.weight, 2.5);
  // It takes nobody's share whose address is its name.
  EXPECT_NE(caller.tenant.principal, TenantOfPeer("ipv4:127.0.0.1:40312").principal);
}

}  // namespace
}  // namespace retnet
