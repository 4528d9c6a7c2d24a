#!/usr/bin/perl

# Why: whatever in nginx makes the answers of a gated location, nothing of
# theirs is made, and nobody behind is asked, without a grant for it.

use strict;
use warnings;

use File::Path qw(make_path);
use IO::Socket::INET;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

# What the nginx at hand was built with.
my $built = qx(@{[ Test::Lockbox::nginx_binary() ]} -V 2>&1);

# A location by a module that not every nginx has.
sub gated_if {
    my ($module, @location) = @_;

    return has($module) ? gated(@location) : ();
}

sub has {
    my ($module) = @_;

    return $built =~ /--with-http_${module}_module/;
}

my $root = 'root %%TESTDIR%%/files;';
my $speaker = '127.0.0.1:%%PORT_8082%%;';
my $proxy = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

$t->redis;
$t->upstream;
start_speaker();
make_files();
$t->write_conf($t->conf(locations => join '',
    gated('root', $root),
    gated('alias', 'alias %%TESTDIR%%/files/tenants/acme/root/;'),
    gated('index', $root),
    gated('listed', $root, 'autoindex on;'),
    gated_if('random_index', 'random', $root, 'random_index on;'),
    gated_if('gzip_static', 'zipped', $root, 'gzip_static always;'),
    gated_if('flv', 'flv', $root, 'flv;'),
    gated_if('mp4', 'mp4', $root, 'mp4;'),
    gated('gif', 'empty_gif;'),
    gated('status', 'stub_status;'),
    gated('written', $root, 'dav_methods PUT DELETE MKCOL COPY MOVE;',
          'create_full_put_path on;'),
    gated('fastcgi', "fastcgi_pass $speaker",
          'fastcgi_param REQUEST_METHOD $request_method;'),
    gated('scgi', "scgi_pass $speaker",
          'scgi_param REQUEST_METHOD $request_method;'),
    gated('uwsgi', "uwsgi_pass $speaker",
          'uwsgi_param REQUEST_METHOD $request_method;'),
    gated('memcached', 'set $memcached_key $uri;', "memcached_pass $speaker"),
    gated('grpc', "grpc_pass grpc://$speaker"),
    gated('iffy', $root, "if (\$arg_go) { $proxy }"),
    gated('ruled', $root, "limit_except GET { $proxy }"),
    gated('denying', $root, "limit_except GET { deny all; }", $proxy),
    gated('outer', $root,
          "location /tenants/acme/outer/inner/ { $proxy }",
          "location ~ \\.api\$ { $proxy }",
          'location = /tenants/acme/outer/gif { empty_gif; }'),
    <<'EOF_LOCATIONS'));
location /free/ { root %%TESTDIR%%/files; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;


# What is served

sub make_files {
    my $files = $t->testdir . '/files';

    make_path(map { "$files/tenants/acme/$_" }
                  qw(root/d index listed random zipped flv mp4 iffy ruled
                     denying outer written));
    make_path("$files/free");
    $t->write_file("files/tenants/acme/$_", "the secret of $_")
        for qw(root/x index/index.html listed/x random/x flv/x iffy/x ruled/x
               denying/x outer/x written/there);
    $t->write_file('files/free/x', 'nothing secret');

    $t->write_file('files/tenants/acme/zipped/x.gz', "\x1f\x8b...");
    # an empty film
    $t->write_file('files/tenants/acme/mp4/x',
                   pack 'N a4 a4 N', 16, 'ftyp', 'isom', 0);
}

# One server for all protocols: it records a connection, answers it and waits
# for its end.
sub start_speaker {
    my $log = $t->testdir . '/speaker.log';
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $t->port(8082), Listen => 16,
        ReuseAddr => 1) // die "listen: $!\n";

    $t->start_process('speaker', code => sub {
        while (my $client = $listener->accept) {
            Test::Lockbox::Upstream::append($log, "1\n");
            sysread $client, my $request, 65536;
            syswrite $client, spoken($request);
            shutdown $client, 1;
            1 while sysread $client, $request, 65536;
        }
    });
}

# The answer to the first bytes of a request.
sub spoken {
    my ($request) = @_;

    my $body = 'the secret of the speaker';
    my $headers = "Content-Type: text/plain\r\n\r\n";

    return "VALUE $1 0 " . length($body) . "\r\n$body\r\nEND\r\n"
        if $request =~ /^gets? (\S+)\r\n/;
    return '' if $request =~ /^PRI /;
    return "Status: 200 OK\r\n$headers$body" if $request !~ /^\x01\x01/;

    return join '', map { my ($type, $text) = @$_;
                          pack('CCnnCC', 1, $type, 1, length $text, 0, 0)
                          . $text }
                        [ 6, "$headers$body" ], [ 6, '' ], [ 3, "\0" x 8 ];
}

# How many connections were made behind nginx.
sub connections {
    my $spoken = $t->has_file('speaker.log') ? $t->read_file('speaker.log')
                                             : '';

    return $t->upstream_connections + ($spoken =~ tr/\n//);
}

my %grant;

# A grant for all that methods can do with a service.
sub grant {
    my ($service) = @_;

    return $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, paths => [ "/tenants/acme/$service/" ],
        methods => [ qw(GET POST PUT DELETE MKCOL COPY MOVE) ],
    } ]);
}


# Handlers of content

my @HELP = qw(asked granted request);

for my $case (
    # name, service and path, what the answer holds; its status, accesses
    # and connections, if they are not 200, 1 and 0; method, module
    [ 'a file', 'root/x', qr/the secret of root/ ],
    [ 'a part of a file', 'root/x', qr/^the\z/, status => 206,
      headers => { Range => 'bytes=0-2' } ],
    [ 'no file', 'root/y', qr/404/, status => 404 ],
    [ 'a directory', 'root/d', qr/301/, status => 301 ],
    [ 'a file by its alias', 'alias/x', qr/the secret of root/ ],
    [ 'an index', 'index/', qr/the secret of index/, accesses => 2 ],
    [ 'a directory listed', 'listed/', qr/<a href="x">/ ],
    [ 'any file', 'random/', qr/the secret of random/, accesses => 2,
      module => 'random_index' ],
    [ 'a file zipped', 'zipped/x', qr/^\x1f\x8b/,
      module => 'gzip_static' ],
    [ 'a film', 'flv/x', qr/secret of flv/, module => 'flv' ],
    [ 'another film', 'mp4/x', qr/isom/, module => 'mp4' ],
    [ 'a picture', 'gif/x', qr/^GIF/ ],
    [ 'counters', 'status/x', qr/Active connections/ ],
    [ 'FastCGI', 'fastcgi/x', qr/the speaker/, connections => 1 ],
    [ 'SCGI', 'scgi/x', qr/the speaker/, connections => 1 ],
    [ 'uwsgi', 'uwsgi/x', qr/the speaker/, connections => 1 ],
    [ 'memcached', 'memcached/x', qr/the speaker/, connections => 1 ],
    [ 'gRPC', 'grpc/x', qr/502/, connections => 1, status => 502 ],
    [ 'an if', 'iffy/x?go=1', qr/"uri"/, connections => 1 ],
    [ 'an if that does not hold', 'iffy/x', qr/the secret of iffy/ ],
    [ 'limit_except', 'ruled/x', qr/"uri"/, connections => 1,
      method => 'POST' ],
    [ 'limit_except, excepted', 'ruled/x', qr/the secret of ruled/ ],
    [ 'limit_except that denies', 'denying/x', qr/403/, status => 403,
      method => 'POST' ],
    [ 'limit_except that does not', 'denying/x', qr/"uri"/,
      connections => 1 ],
    [ 'a location around', 'outer/x', qr/the secret of outer/ ],
    [ 'a location within', 'outer/inner/x', qr/"uri"/, connections => 1 ],
    [ 'a regex within', 'outer/x.api', qr/"uri"/, connections => 1 ],
    [ 'an exact one within', 'outer/gif', qr/^GIF/ ],
    [ 'a file put', 'written/new', qr/^\z/, method => 'PUT', status => 201 ],
    [ 'a directory made', 'written/dir/', qr/^\z/, method => 'MKCOL',
      status => 201 ],
    [ 'a file deleted', 'written/there', qr/^\z/, method => 'DELETE',
      status => 204 ],
) {
    my ($name, $target, $content, %is) = @$case;

    next if defined $is{module} && !has($is{module});

    my $uri = "/tenants/acme/$target";
    my ($service) = $target =~ /^(\w+)/;
    my $method = $is{method} // 'GET';
    my $before = connections();
    my $files = files();

    my $call = sub {
        my ($token) = @_;

        return $t->http($method, $uri, token => $token,
                        headers => $is{headers} // {},
                        $method =~ /^P/ ? (body => 'x') : ());
    };

    refused($call->(undef), 'no_token', $name);
    refused($call->(grant('other')), 'wrong_service', $name, @HELP);
    recorded([ qw(no_token wrong_service) ], "$name: on record");
    is(connections(), $before, "$name: nobody is asked");
    is(files(), $files, "$name: nothing has changed");

    my $allowed = $call->(grant($service));

    is($allowed->status, $is{status} // 200, "$name: allowed");
    like($allowed->body, $content, "$name: the answer");
    is($allowed->header('cache-control'), 'no-store',
       "$name: is for nobody else");
    is_deeply([ map { $_->{'event.reason'} // 'start' } records() ],
              [ map { ($_) x ($is{accesses} // 1) } qw(start allow) ],
              "$name: with its grant, on record");
    is(connections(), $before + ($is{connections} // 0),
       "$name: somebody is asked");
}

# All files, by name.
sub files {
    my $dir = $t->testdir . '/files';

    return join ' ', sort glob "$dir/*/* $dir/*/*/* $dir/*/*/*/*";
}


# A file that goes elsewhere takes its secret along

for my $method (qw(COPY MOVE)) {
    my $files = files();
    my %elsewhere = (Destination => 'http://localhost/free/copy');

    refused($t->http($method, '/tenants/acme/written/new',
                     token => grant('written'), headers => \%elsewhere),
            'override_header', "$method out of the gated location");
    recorded([ 'override_header' ], "$method: on record");
    is(files(), $files, "$method: nothing has changed");
    is($t->http($method, '/tenants/acme/written/new',
                token => grant('written'))->status, 400,
       "$method to nowhere is for nginx to refuse");
    recorded([ 'allow' ], "$method to nowhere: on record");
}

let_through($t->http('GET', '/free/x'), 'what is not gated');
recorded([], 'is not on record');

done_testing;
