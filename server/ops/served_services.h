// The services that the server has.
#ifndef RETNET_SERVER_OPS_SERVED_SERVICES_H_
#define RETNET_SERVER_OPS_SERVED_SERVICES_H_

#include <google/protobuf/descriptor.h>

#include <vector>

namespace retnet {

// Ours, health, and both names of reflection.
std::vector<const google::protobuf::ServiceDescriptor*> ServedServices();

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_SERVED_SERVICES_H_
